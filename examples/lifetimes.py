"""lifetimes: how long processes live. A histogram without keys."""

from pytracer.spec import Alternative, Column, Histogram, Hook, RawTracepoint, Tracepoint, Tracer, Unit
from pytracer.spec.common import times
from pytracer.spec.filters import TASK_FILTERS

EXIT = Hook(
    "exit",
    "threads exit",
    (
        Alternative("raw-tracepoint", (RawTracepoint("exited", event="sched_process_exit"),)),
        Alternative("tracepoint", (Tracepoint("exited", category="sched", event="sched_process_exit"),)),
    ),
)
PROCESSES = Column("processes", "processes that ended", unit=Unit.COUNT)

TRACER = Tracer(
    name="lifetimes",
    group="processes",
    summary="how long processes live, as a histogram",
    description="Shows a histogram of the time from a process's creation to its exit.",
    hooks=(EXIT,),
    filters=TASK_FILTERS,
    follow=True,
    outputs=(Histogram("rows", (PROCESSES, *times("processes")), label="lifetime"),),
    examples=(
        ("lifetimes -d 10", "every process that ends within ten seconds"),
        ("lifetimes -- make", "the processes of a build"),
    ),
    notes=("The lifetime of a process ends with its main thread, though other threads may go on.",),
)
