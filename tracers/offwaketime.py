"""offwaketime: where threads block, and who wakes them, stack to stack."""

from pytracer.spec import Column, Duration, GroupBy, Key, Number, Stacks, Tracer, Unit
from pytracer.spec.common import MAPPING, STACK_OPTIONS, WAKING_AND_SWITCH
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.outputs import FURTHER_WAKERS, KERNEL_FRAMES, USER_FRAMES, WAKER_FRAMES

TOTAL = Column("total_ns", "time off a CPU", label="TOTAL", unit=Unit.NANOSECONDS)
COUNT = Column("count", "times that a thread blocked so and was woken so", unit=Unit.COUNT)

KEYS = (
    Key("pid", (Column("pid", "process that blocks"),)),
    Key("comm", (Column("comm", "name of its thread", decode="text", width=12),)),
    Key("waker_pid", (Column("waker_pid", "process that wakes; none: an interrupt", null=0),)),
    Key("waker", (Column("waker", "its name, or [interrupt]", decode="text", null=b"", width=12),)),
)

TRACER = Tracer(
    name="offwaketime",
    group="cpu",
    summary="where threads block and who wakes them: time off a CPU, by both stacks",
    description="Adds up the time that threads are blocked, by their stacks and those of whoever wakes them.",
    hooks=(WAKING_AND_SWITCH, MAPPING),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy("by", "what tells stacks apart; several with commas", keys=KEYS, default="comm,waker"),
        Number(
            "depth", "wakers in a chain: 2 with who woke the waker", default=1, maximum=4, define="PT_WAKERS"
        ),
        Duration("min", "only times of at least this long", config="min", default=0),
        Duration("max", "only times of at most this long", config="max", default=0),
        *STACK_OPTIONS,
    ),
    outputs=(
        Stacks(
            "rows",
            (TOTAL, COUNT),
            keys=(KERNEL_FRAMES, USER_FRAMES, *WAKER_FRAMES),
            further=FURTHER_WAKERS,
        ),
    ),
    examples=(
        ("offwaketime -d 10", "the whole machine for ten seconds"),
        ("offwaketime -p 181 --min 1ms -d 10", "what one process waits for, a millisecond or more"),
        ("offwaketime -f folded -- make", "a build, for flame graphs; counts are nanoseconds"),
    ),
    notes=(
        "Filters test the blocked thread. A time ends when it runs again: sleeping threads are not in it.",
        "It includes the wait for a CPU after the wake-up (see runqlat). Preemption is not counted.",
        "A wake-up by an interrupt has no process and no stack. On x86, one by a page fault looks the same.",
        "One that a thread met before it had left its CPU is not shown; waker is - if it was not seen.",
        "Further wakers (--depth) are those of each waker's last sleep, whatever it did since: a chain is a",
        "lead, not a proof. It ends at an interrupt, or at a waker that has not slept since the start.",
        "With --depth above 1, a stack is taken at every wake-up on the machine.",
        "Folded lines are the blocked stack, --, and the waker's the other way round, to meet where it woke.",
    ),
)
