"""cpudist: how long threads stay on a CPU at a time, or off."""

from pytracer.spec import Audit, Column, Flag, GroupBy, Histogram, Key, Tracer, Unit
from pytracer.spec.common import BY_COMM, BY_PROCESS, BY_THREAD, CONTEXT_SWITCH, times
from pytracer.spec.filters import TASK_FILTERS

PERIODS = Column("stays", "times on a CPU, or off, that ended", unit=Unit.COUNT)

TRACER = Tracer(
    name="cpudist",
    group="cpu",
    summary="time that threads stay on a CPU at a time, or off, as histograms",
    description="Shows histograms of the time that a thread stays on a CPU, from switch to switch.",
    hooks=(CONTEXT_SWITCH,),
    filters=TASK_FILTERS,
    audit=Audit("timeslices", tolerance="stays that began before the trace or go on after it are not seen"),
    follow=True,
    options=(
        Flag("off", "the time off a CPU instead: asleep, or waiting for one", define="OFF"),
        GroupBy(
            "by",
            "a histogram for each; several with commas",
            keys=(
                BY_PROCESS,
                BY_THREAD,
                BY_COMM,
                Key("cpu", (Column("cpu", "the CPU where the stay ended"),)),
            ),
        ),
    ),
    outputs=(Histogram("rows", (PERIODS, *times("stays")), label="duration"),),
    examples=(
        ("cpudist -d 10", "the whole machine for ten seconds"),
        ("cpudist --off --by comm -- make", "how long the threads of a build sleep or wait, by name"),
    ),
    notes=(
        "A stay on (or off) a CPU that has not ended when the trace ends is not counted.",
        "The time includes interrupts. The idle threads of CPUs are left out.",
    ),
)
