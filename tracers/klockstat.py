"""klockstat: which locks of the kernel threads wait for, and how long they hold them."""

from pytracer.spec import Column, Duration, Flag, GroupBy, Key, Stacks, Tracer, Unit
from pytracer.spec.common import MAPPING, STACK_OPTIONS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.locks import CONTENTION, HELD

TOTAL = Column("total_ns", "time in waits", label="TOTAL", unit=Unit.NANOSECONDS)
WAITS = Column("waits", "waits that ended", unit=Unit.COUNT)
TIME_HELD = Column("held_ns", "time the lock was held", label="HELD", unit=Unit.NANOSECONDS)
HOLDS = Column("holds", "times it was taken and released", unit=Unit.COUNT)

TRACER = Tracer(
    name="klockstat",
    group="system",
    summary="kernel locks: time that threads wait for them and hold them, by stack",
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
                Key("pid", (Column("pid", "process that waits or holds; none: an interrupt", null=0),)),
                Key("comm", (Column("comm", "name of its thread", decode="text", null=b""),)),
                Key(
                    "holder",
                    (
                        Column("holder", "process that held it as the wait began; none: not known", null=0),
                        Column("holder_comm", "name of its thread", decode="text", null=b""),
                    ),
                ),
            ),
            default="type,comm",
        ),
        Duration("min", "only waits, and holds, of at least this long", config="min", default=0),
        Flag("held", "how long mutexes and rwsems are held, too, by functions", define="HELD"),
        *STACK_OPTIONS,
    ),
    outputs=(
        Stacks("rows", (TOTAL, WAITS)),
        Stacks("rows", (TIME_HELD, HOLDS, TOTAL, WAITS), when="held", hooks=(HELD, MAPPING)),
    ),
    examples=(
        ("klockstat -d 10", "the whole machine for ten seconds"),
        ("klockstat --held --min 1ms -- make", "long waits and long holds of a build"),
    ),
    notes=(
        "Without --held, free locks cost nothing. With it, programs run at each lock and release of mutexes",
        "and rwsems; other locks are not seen (spinlocks are released inline). Earlier waits do not count.",
        "Before Linux 5.19, waits are of mutexes and rwsems alone. By kprobe, calls are missed where more",
        "tasks wait at a time than return probes have slots. Holders: of mutexes, and of rwsems to write.",
        "A mutex that is spun for and then slept for is one wait. In an interrupt no process waits (on x86,",
        "a page fault that waits for a spinlock looks the same). A hold ends in the task that took the lock.",
    ),
)
