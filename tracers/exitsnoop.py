"""exitsnoop: processes as they exit, and why."""

from pytracer.spec import Alternative, Column, Flag, Hook, RawTracepoint, Stream, Tracepoint, Tracer, Unit
from pytracer.spec.filters import TASK_FILTERS

EXIT = Hook(
    "exit",
    "threads exit",
    (
        Alternative("raw-tracepoint", (RawTracepoint("exited", event="sched_process_exit"),)),
        Alternative("tracepoint", (Tracepoint("exited", category="sched", event="sched_process_exit"),)),
    ),
)

TRACER = Tracer(
    name="exitsnoop",
    group="processes",
    summary="processes as they exit: run time, exit code or signal",
    description="Shows each process that exits, with its lifetime and its exit code or signal.",
    hooks=(EXIT,),
    filters=TASK_FILTERS,
    follow=True,
    options=(Flag("threads", "each thread, not only the last one of a process", define="THREADS"),),
    outputs=(
        Stream(
            columns=(
                Column("pid", "process id"),
                Column("tid", "id of the thread that exits, the last one of the process", wide=True),
                Column("ppid", "process id of the parent", wide=True),
                Column("uid", "real user id", wide=True),
                Column("comm", "name of the process (--threads: of the thread)", decode="text", width=15),
                Column("age_ns", "time since it was created", label="AGE", unit=Unit.NANOSECONDS),
                Column("code", "exit code", null=-1, width=4),
                Column("signal", "signal that ended it", decode="signal", null=0, width=7),
                Column("core", "1 if a core was dumped", wide=True),
                Column("args", "its arguments, quoted as for a shell", decode="arguments"),
            )
        ),
    ),
    examples=(
        ("exitsnoop", "every process that exits"),
        ("exitsnoop -- make", "the processes of a build"),
        ("exitsnoop --threads -p 181 -f json", "threads of one process, as JSON"),
    ),
    notes=(
        "Code and signal are those that wait(2) returns to the parent; with --threads, each thread's.",
        "A process exits with its last thread; CODE is that of exit_group, or of the first thread.",
        "Arguments need Linux 6.16: before, the event is raised after their memory is freed.",
        "The first 4096 bytes of arguments are shown; longer ones are counted as truncated.",
    ),
)
