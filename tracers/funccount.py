"""funccount: how often functions are called, and events happen."""

from pytracer.spec import Column, GroupBy, Key, Table, Targets, Tracer, Unit
from pytracer.spec.filters import TASK_FILTERS

COUNT = Column("count", "how often it happened", unit=Unit.COUNT)

TRACER = Tracer(
    name="funccount",
    group="system",
    summary="how often functions are called and events happen, of any kernel function or event",
    description="Counts calls of the kernel's functions and trace events, by pattern.",
    hooks=(),
    arguments=Targets(
        "PATTERN",
        "what to count: k:vfs_* (or vfs_*), kr:, f:, fr:, t:block:*, rt:sched_switch",
        begin="hit",
        examples=("t:sched:sched_switch", "vfs_*", "f:vfs_read"),
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy(
            "by",
            "what a row stands for; several with commas",
            keys=(
                Key("target", (Column("target", "what happened", decode="target"),)),
                Key("pid", (Column("pid", "process id"), Column("comm", "its latest name", latest=True))),
                Key("comm", (Column("comm", "name of the thread", decode="text"),)),
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
    ),
    notes=(
        "k: a function of the kernel begins (kprobe), kr: returns; k:NAME+OFFSET: a place within it.",
        "f: and fr: the same by trampolines (fentry, fexit), which cost less and want BTF.",
        "t:CATEGORY:NAME a trace event; rt:NAME a raw tracepoint. * is any characters, ? is one.",
        "Functions that the compiler put into their callers are not called, and not counted.",
        "Before Linux 6.7 the kernel does not say what kprobes miss that hit within other BPF programs.",
    ),
)
