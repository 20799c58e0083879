"""forkstacks: count the stacks that create processes and threads. Stacks."""

from pytracer.spec import Alternative, Column, Hook, Key, RawTracepoint, Stacks, Tracepoint, Tracer, Unit
from pytracer.spec.common import MAPPING, STACK_OPTIONS
from pytracer.spec.filters import TASK_FILTERS

FORK = Hook(
    "fork",
    "processes are created",
    (
        Alternative("raw-tracepoint", (RawTracepoint("forked", event="sched_process_fork"),)),
        Alternative("tracepoint", (Tracepoint("forked", category="sched", event="sched_process_fork"),)),
    ),
)

TRACER = Tracer(
    name="forkstacks",
    group="processes",
    summary="by which stacks processes and threads are created",
    description="Counts the stacks of the kernel and of programs that create processes and threads.",
    hooks=(FORK, MAPPING),
    filters=TASK_FILTERS,
    follow=True,
    options=STACK_OPTIONS,
    keys=(
        Key("pid", (Column("pid", "process id of the parent"),)),
        Key("comm", (Column("comm", "name of the thread that forks", decode="text"),)),
    ),
    outputs=(Stacks("rows", (Column("forks", "processes and threads created", unit=Unit.COUNT),)),),
    examples=(
        ("forkstacks -d 10", "the whole machine for ten seconds"),
        ("forkstacks -f folded -- make", "a command and its descendants, as folded stacks"),
    ),
    notes=("Before Linux 5.17, callers are missing in code that was built without frame pointers.",),
)
