"""offcputime: where threads spend their time off a CPU, by stack."""

from pytracer.spec import Column, Duration, Flag, Key, Stacks, Tracer, Unit
from pytracer.spec.common import CONTEXT_SWITCH, MAPPING, STACK_OPTIONS
from pytracer.spec.filters import TASK_FILTERS

TOTAL = Column("total_ns", "time off a CPU", label="TOTAL", unit=Unit.NANOSECONDS)
COUNT = Column("count", "times that a thread left its CPU there", unit=Unit.COUNT)

TRACER = Tracer(
    name="offcputime",
    group="cpu",
    summary="where threads block: the time they spend off a CPU, by stack",
    description="Adds up the time that threads are off a CPU, by the stacks with which they left it.",
    hooks=(CONTEXT_SWITCH, MAPPING),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Flag("blocked", "only where threads went to sleep, not where they were preempted", define="BLOCKED"),
        Duration("min", "only times of at least this long", config="min", default=0),
        Duration("max", "only times of at most this long", config="max", default=0),
        *STACK_OPTIONS,
    ),
    keys=(
        Key("pid", (Column("pid", "process id"),)),
        Key("comm", (Column("comm", "name of the thread", decode="text"),)),
    ),
    outputs=(Stacks("rows", (TOTAL, COUNT)),),
    examples=(
        ("offcputime -d 10", "the whole machine for ten seconds"),
        ("offcputime --blocked -p 181 -d 10", "where one process sleeps"),
        ("offcputime -f folded -- make", "a build, for flame graphs; counts are nanoseconds"),
    ),
    notes=(
        "A time counts when the thread runs again: threads that still sleep at the end are not in it.",
        "The time includes the wait for a CPU after the wake-up; runqlat shows that wait alone.",
        "The help of profile explains how stacks are walked and symbolized.",
    ),
)
