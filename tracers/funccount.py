"""funccount: how often functions are called, and events happen."""

from pytracer.spec import Column, GroupBy, Key, Table, Targets, Tracer, Unit
from pytracer.spec.common import BY_COMM, BY_PROCESS, BY_THREAD, COMPAT_NOTE
from pytracer.spec.filters import TASK_FILTERS

COUNT = Column("count", "number of events", unit=Unit.COUNT)

TRACER = Tracer(
    name="funccount",
    group="system",
    summary="counts of function calls and events, of the kernel or a program",
    description="Counts calls of functions of the kernel and of programs, trace events and USDT probes.",
    hooks=(),
    arguments=Targets(
        "PATTERN",
        "what to count: k:vfs_* (or vfs_*), kr:, f:, fr:, t:block:*, rt:sched_switch, u:libc:malloc, ur:, "
        "usdt:python:gc__*",
        begin="hit",
        enter="entered",
        examples=("t:sched:sched_switch", "vfs_*", "f:vfs_read"),
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy(
            "by",
            "what a row stands for; several with commas",
            keys=(
                Key("target", (Column("target", "the event", decode="target"),)),
                *(BY_PROCESS, BY_THREAD, BY_COMM),
            ),
            default="target",
        ),
    ),
    outputs=(Table("rows", (COUNT,), sort="count", dense="dense"),),
    examples=(
        ("funccount 'vfs_*' 1 5", "functions of the kernel, a table a second, five times"),
        ("funccount 't:block:*' -d 10", "trace events of block devices, for ten seconds"),
        ("funccount f:vfs_read fr:vfs_read -- ls", "calls and returns that one command makes"),
        ("funccount kr:vfs_read --by pid,target -p 1", "returns of a function, in process 1"),
        ("funccount u:libc:malloc u:bash:readline -p 1", "functions of a library and of a program"),
        ("funccount 'usdt:python:*' -d 10", "USDT probes of this provider, in all that runs"),
    ),
    notes=(
        "k: entry of a kernel function (kprobe), kr: its return; k:NAME+OFFSET: an instruction in it.",
        "f: and fr: the same by trampolines (fentry, fexit), which cost less and need BTF.",
        "lsm:HOOK counts what security modules are asked (lsm:file_open); it needs bpf among them.",
        "t:CATEGORY:NAME a trace event; rt:NAME a raw tracepoint. * matches any characters, ? one.",
        "u:FILE:NAME entry of a function (uprobe), ur: its return; u:FILE:NAME+OFFSET, u:FILE:+OFFSET.",
        "FILE is a path or the name of a library or program; with one -p or --container, as seen in there.",
        "usdt:[FILE:]PROVIDER:NAME a USDT probe; without FILE, in the programs of -p or of all processes.",
        "ur: uses probes on return instructions; if these cannot be found, the function is refused.",
        "--hook ur=uretprobe uses the kernel's return probe, which breaks Go and C++ exceptions.",
        "Before Linux 6.10, u: with -p sees no more events after the process's first thread has ended.",
        COMPAT_NOTE,
        "Calls that the compiler inlined are not counted.",
        "Before Linux 6.7, the kernel does not count kprobes that it misses within other BPF programs.",
    ),
)
