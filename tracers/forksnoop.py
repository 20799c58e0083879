"""forksnoop: processes and threads as they are created."""

from pytracer.spec import Alternative, Audit, Column, Flag, Hook, RawTracepoint, Stream, Tracepoint, Tracer
from pytracer.spec.filters import TASK_FILTERS

# sched_process_fork is not raised for the workers of io_uring (Linux 5.12) and vhost (6.4); task_newtask is.
NEW_TASK = Hook(
    "new",
    "tasks are created",
    (
        Alternative("raw-tracepoint", (RawTracepoint("created", event="task_newtask", arguments=2),)),
        Alternative("tracepoint", (Tracepoint("created", category="task", event="task_newtask"),)),
    ),
)

TRACER = Tracer(
    name="forksnoop",
    group="processes",
    summary="processes and threads as they are created, and by whom",
    description="Shows each process and thread that is created, by whichever call, and by which process.",
    hooks=(NEW_TASK,),
    filters=TASK_FILTERS,
    audit=Audit("forks", tolerance="what pytracer itself creates is not shown"),
    follow=True,
    options=(
        Flag("processes", "only processes", define="PROCESSES", excludes="threads"),
        Flag("threads", "only threads", define="THREADS"),
    ),
    outputs=(
        Stream(
            columns=(
                Column("pid", "process id of the creator"),
                Column("tid", "its thread id", wide=True),
                Column("ppid", "process id of its parent", wide=True),
                Column("uid", "its real user id", wide=True),
                Column("comm", "name of the thread that creates", decode="text", width=15),
                Column("task", "process, or thread", decode="text", width=7),
                Column("child_pid", "process id of what is created", label="CHILD"),
                Column("child_tid", "its thread id", label="TID"),
                Column("flags", "how it is cloned", decode="clone_flags"),
            )
        ),
    ),
    examples=(
        ("forksnoop", "every process and thread of the machine"),
        ("forksnoop --processes -- make", "the processes that a build creates"),
        ("forksnoop --threads -p 181 -f json", "the threads that one process creates, as JSON"),
    ),
    notes=(
        "Filters test the parent. A child has the parent's name until it executes or is renamed.",
        "FLAGS are those of clone(2) without CLONE_: fork(2) has none of interest, vfork(2) has VM|VFORK.",
        "Kernel threads are children of kthreadd; io_uring workers are threads of their process.",
        "Failed calls are not shown: syscalls -e clone,clone3,fork,vfork counts them.",
    ),
)
