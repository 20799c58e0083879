"""klockstat: which locks of the kernel threads wait for."""

from pytracer.spec import Column, Duration, GroupBy, Key, RawTracepoint, Stacks, Tracer, Unit
from pytracer.spec.common import MAPPING, STACK_OPTIONS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.hooks import Alternative, Hook

CONTENTION = Hook(
    "contention",
    "locks of the kernel are waited for (Linux 5.19)",
    (
        Alternative(
            "raw-tracepoint",
            (
                RawTracepoint("begins", event="contention_begin", arguments=2),
                RawTracepoint("ends", event="contention_end", arguments=2),
            ),
        ),
    ),
)
TOTAL = Column("total_ns", "time in waits", label="TOTAL", unit=Unit.NANOSECONDS)
WAITS = Column("waits", "waits that ended", unit=Unit.COUNT)

TRACER = Tracer(
    name="klockstat",
    group="system",
    summary="waits for kernel locks: time, by stack",
    description="Adds up the time that tasks wait for locks of the kernel, by the stacks that take them.",
    hooks=(CONTENTION, MAPPING),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy(
            "by",
            "what tells stacks apart that are alike; several with commas",
            keys=(
                Key("type", (Column("type", "mutex, rwsem, spinlock, ...", decode="text", width=12),)),
                Key("lock", (Column("lock", "the lock's address", decode="register"),)),
                Key("pid", (Column("pid", "process that waits; none: an interrupt", null=0),)),
                Key("comm", (Column("comm", "name of its thread", decode="text", null=b""),)),
            ),
            default="type,comm",
        ),
        Duration("min", "only waits of at least this long", config="min", default=0),
        *STACK_OPTIONS,
    ),
    outputs=(Stacks("rows", (TOTAL, WAITS)),),
    examples=(
        ("klockstat -d 10", "the whole machine for ten seconds"),
        ("klockstat --by lock,type --min 1ms -- make", "long waits of a build, each lock by itself"),
    ),
    notes=(
        "Only waits are seen: who takes a free lock costs nothing. How long locks are held is not known.",
        "A mutex that is spun for, and then slept for, is one wait. Waits that began before are not counted.",
        "In an interrupt no process waits (on x86, this holds for page faults, too).",
    ),
)
