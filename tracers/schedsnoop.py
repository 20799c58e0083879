"""schedsnoop: turns of threads on CPUs."""

from pytracer.spec import Column, Stream, Tracer, Unit
from pytracer.spec.common import WAKING_AND_SWITCH
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="schedsnoop",
    group="cpu",
    summary="each turn of a thread on a CPU: how long it slept, waited and ran, and who woke it",
    description="Shows each turn of a thread on a CPU as it ends, with the sleep and the wait before it.",
    hooks=(WAKING_AND_SWITCH,),
    filters=TASK_FILTERS,
    follow=True,
    outputs=(
        Stream(
            columns=(
                Column("pid", "process id"),
                Column("tid", "thread id", wide=True),
                Column("comm", "name of the thread", decode="text", width=12),
                Column("waker_comm", "who woke it", label="WOKEN BY", decode="text", null=b"", width=12),
                Column("waker_pid", "its process; none: an interrupt", null=0, wide=True),
                Column("waker_tid", "its thread id", null=0, wide=True),
                Column("cpu", "the CPU that it had", width=3),
                Column(
                    "slept_ns", "time from sleep to wake-up", label="SLEPT", unit=Unit.NANOSECONDS, null=-1
                ),
                Column("wait_ns", "from then until it ran", label="WAIT", unit=Unit.NANOSECONDS, null=-1),
                Column("ran_ns", "time on the CPU", label="RAN", unit=Unit.NANOSECONDS, on_cpu=True),
                Column("preempted", "1: it was not done, and waits again", wide=True),
            )
        ),
    ),
    examples=(
        ("schedsnoop -p 181", "the turns of one process"),
        ("schedsnoop -f perfetto -o x.pftrace -- make", "a build on a timeline, by thread and by CPU"),
        ("schedsnoop -d 1 -f json", "the whole machine for a second, as JSON"),
    ),
    notes=(
        "A turn after preemption has no sleep before it. What was before the first turn, or before one whose",
        "thread was woken while it still left its CPU, is unknown (-).",
        "Filters look at the thread that has the turn. The whole machine has many: see --buffer.",
    ),
)
