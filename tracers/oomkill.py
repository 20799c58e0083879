"""oomkill: processes that are killed because memory has run out."""

from pytracer.spec import Alternative, Audit, Column, Hook, Kprobe, RawTracepoint, Stream, Tracer
from pytracer.spec.filters import TASK_FILTERS

VICTIM = Hook(
    "victim",
    "the kernel chooses a process to kill when memory has run out",
    (
        # Linux 6.9 (72ba14deb40a) gave the event the task; before, it had the thread's id alone.
        Alternative("raw-tracepoint", (RawTracepoint("marked", event="mark_victim", arguments=2),)),
        Alternative(
            "kprobe",
            (
                Kprobe("chosen", symbols=("mark_oom_victim",)),
                RawTracepoint("marked", event="mark_victim", arguments=1),
            ),
        ),
        Alternative("raw-tracepoint-pid", (RawTracepoint("marked", event="mark_victim", arguments=1),)),
    ),
)

TRACER = Tracer(
    name="oomkill",
    group="memory",
    summary="processes that the OOM killer kills: victim, cgroup, and the task that needed memory",
    description="Shows each process that the kernel kills for memory, and the task that asked for more.",
    hooks=(VICTIM,),
    filters=TASK_FILTERS,
    audit=Audit("oom_kills", tolerance="what is about to end by itself is not counted by the kernel"),
    follow=True,
    outputs=(
        Stream(
            columns=(
                Column("pid", "process that asked for memory"),
                Column("comm", "name of its thread", decode="text", width=12),
                Column("victim_pid", "process that is killed", label="VICTIM", null=0),
                Column("victim_tid", "thread that stands for it", wide=True),
                Column("victim_comm", "its name", label="VICTIM_COMM", decode="text", null=b"", width=12),
                Column("victim_uid", "its real user id", null=0xFFFFFFFF, wide=True),
                Column("oom_score_adj", "its oom_score_adj", null=0x7FFF, wide=True),
                Column("vm_pages", "pages of its address space", null=0, wide=True),
                Column("cgroup", "its cgroup (version 2)", decode="cgroup", null=0),
            )
        ),
    ),
    examples=(
        ("oomkill", "every process of the machine that is killed so"),
        ("oomkill -T -f json", "with the time, as JSON"),
        ("oomkill --cgroup system.slice", "those of services, or that services ask for"),
    ),
    notes=(
        "Filters test both the process that needs memory and the one that is killed.",
        "The process that needs memory may use little: the kernel kills the largest of machine or cgroup.",
        "A task that is already exiting is shown, too: the kernel lets it use reserves to exit.",
        "By --hook victim=raw-tracepoint-pid only the victim's thread id is known.",
    ),
)
