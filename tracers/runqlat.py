"""runqlat: how long threads wait for a CPU."""

from pytracer.spec import Audit, Column, GroupBy, Histogram, Key, Tracer, Unit
from pytracer.spec.common import BY_COMM, BY_PROCESS, BY_THREAD, WAKEUP_AND_SWITCH, times
from pytracer.spec.filters import TASK_FILTERS

WAITS = Column("waits", "waits for a CPU that ended", unit=Unit.COUNT)

TRACER = Tracer(
    name="runqlat",
    group="cpu",
    summary="time that threads wait for a CPU (run queue latency), as a histogram",
    description="Shows histograms of run-queue latency: from a wake-up or preemption until the thread runs.",
    hooks=(WAKEUP_AND_SWITCH,),
    filters=TASK_FILTERS,
    audit=Audit("timeslices", tolerance="waits that began before the trace are not seen"),
    follow=True,
    options=(
        GroupBy(
            "by",
            "a histogram for each; several with commas",
            keys=(
                BY_PROCESS,
                BY_THREAD,
                BY_COMM,
                Key("cpu", (Column("cpu", "the CPU that the thread got"),)),
            ),
        ),
    ),
    outputs=(Histogram("rows", (WAITS, *times("waits")), label="latency"),),
    examples=(
        ("runqlat -d 10", "the whole machine for ten seconds"),
        ("runqlat --by comm 5 12", "by thread name, every five seconds for a minute"),
        ("runqlat --by pid -- make -j8", "one command and its descendants"),
    ),
    notes=(
        "If a thread is woken twice before it runs, it waits once, from the first wake-up.",
        "The idle threads of CPUs never wait. A wait that began before the trace is not counted.",
        "A wake-up before the thread has left its CPU starts no wait.",
        "/proc/PID/schedstat has the kernel's own sum of these waits, as its second number.",
    ),
)
