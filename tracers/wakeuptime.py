"""wakeuptime: who wakes threads, and how long they had slept until then."""

from pytracer.spec import Column, Duration, Flag, GroupBy, Key, Stacks, Tracer, Unit
from pytracer.spec.common import MAPPING, STACK_OPTIONS, WAKING_AND_SWITCH
from pytracer.spec.filters import TASK_FILTERS

TOTAL = Column("total_ns", "time slept until the wake-up", label="TOTAL", unit=Unit.NANOSECONDS)
COUNT = Column("count", "threads woken", unit=Unit.COUNT)
KEYS = (
    Key("woken", (Column("woken", "name of the thread that is woken", decode="text", width=12),)),
    Key("pid", (Column("pid", "process that wakes; none: an interrupt", null=0),)),
    Key("comm", (Column("comm", "name of its thread", decode="text", null=b""),)),
)

TRACER = Tracer(
    name="wakeuptime",
    group="cpu",
    summary="time that threads sleep until they are woken, by the waker's stack",
    description="Adds up the time that threads sleep until they are woken, by the stacks that wake them.",
    hooks=(WAKING_AND_SWITCH, MAPPING),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy("by", "what tells stacks apart; several with commas", keys=KEYS, default="woken,comm"),
        Duration("min", "only sleeps of at least this long", config="min", default=0),
        Duration("max", "only sleeps of at most this long", config="max", default=0),
        Flag("uninterruptible", "only sleeps that no signal ends (D)", define="UNINTERRUPTIBLE"),
        *STACK_OPTIONS,
    ),
    outputs=(Stacks("rows", (TOTAL, COUNT)),),
    examples=(
        ("wakeuptime -d 10", "the whole machine for ten seconds"),
        ("wakeuptime -p 181 --min 1ms -d 10", "who wakes one process that slept a millisecond or more"),
        ("wakeuptime -f folded -- make", "a build, for flame graphs; counts are nanoseconds"),
    ),
    notes=(
        "Filters test the woken thread. The time ends with the wake-up; runqlat shows the wait after it.",
        "A wake-up by an interrupt has no process and no stack. On x86, one by a page fault looks the same.",
        "fault wakes is taken for that, too. offcputime has the stacks with which threads went to sleep.",
    ),
)
