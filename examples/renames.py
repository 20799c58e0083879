"""renames: show each thread that changes its name. A stream of events."""

from pytracer.spec import Alternative, Column, Hook, RawTracepoint, Stream, Tracepoint, Tracer
from pytracer.spec.filters import TASK_FILTERS

RENAME = Hook(
    "rename",
    "threads change their names",
    (
        Alternative("raw-tracepoint", (RawTracepoint("renamed", event="task_rename", arguments=2),)),
        Alternative("tracepoint", (Tracepoint("renamed", category="task", event="task_rename"),)),
    ),
)

TRACER = Tracer(
    name="renames",
    group="processes",
    summary="threads as they change their names",
    description="Shows each thread that gets a new name, by prctl(2), by /proc/PID/comm or by execve(2).",
    hooks=(RENAME,),
    filters=TASK_FILTERS,
    follow=True,
    outputs=(
        Stream(
            columns=(
                Column("pid", "process id of the thread that sets the name"),
                Column("tid", "its thread id"),
                Column("old", "the name before", decode="text", width=15),
                Column("new", "the name after", decode="text", width=15),
            )
        ),
    ),
    examples=(
        ("renames", "every thread of the machine"),
        ("renames -f json -- firefox", "one command and its descendants, as JSON"),
    ),
    notes=("A name written to /proc/PID/comm is shown under the id of the thread that writes it.",),
)
