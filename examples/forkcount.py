"""forkcount: count the processes and threads that each process creates. A table."""

from pytracer.spec import (
    Alternative,
    Column,
    GroupBy,
    Hook,
    Key,
    RawTracepoint,
    Table,
    Tracepoint,
    Tracer,
    Unit,
)
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
    name="forkcount",
    group="processes",
    summary="which processes create processes and threads, and how many",
    description="Counts the processes and threads that each process creates.",
    hooks=(FORK,),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy(
            "by",
            "the key of a row; several with commas",
            keys=(
                Key("pid", (Column("pid", "process id of the parent"),)),
                Key("comm", (Column("comm", "name of the thread that forks", decode="text"),)),
            ),
            default="comm",
        ),
    ),
    outputs=(
        Table("rows", (Column("forks", "processes and threads created", unit=Unit.COUNT),), sort="forks"),
    ),
    examples=(
        ("forkcount", "every process of the machine, a table a second"),
        ("forkcount --by pid -- make", "one command and its descendants"),
    ),
    notes=("A process or thread that the kernel creates for itself is counted for kthreadd.",),
)
