"""stackcount: by which way functions are called, and events happen."""

from pytracer.spec import Column, GroupBy, Key, Stacks, Targets, Tracer, Unit
from pytracer.spec.common import COMPAT_NOTE, MAPPING, STACK_OPTIONS, UNWIND_NOTES
from pytracer.spec.filters import TASK_FILTERS

HITS = Column("hits", "number of hits", unit=Unit.COUNT)

TRACER = Tracer(
    name="stackcount",
    group="system",
    summary="stacks that lead to functions and events, of the kernel or a program",
    description="Counts calls of functions, trace events and USDT probes by their stacks.",
    hooks=(MAPPING,),
    arguments=Targets(
        "PATTERN",
        "what to count: k:vfs_* (or vfs_*), kr:, f:, fr:, t:block:*, rt:sched_switch, u:libc:malloc, ur:, "
        "usdt:python:gc__*",
        begin="hit",
        enter="entered",
        examples=("t:sched:sched_switch", "vfs_fsync", "f:vfs_read"),
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy(
            "by",
            "what tells stacks apart that are alike; several with commas",
            keys=(
                Key("target", (Column("target", "the event", decode="target"),)),
                Key("pid", (Column("pid", "process id"),)),
                Key("comm", (Column("comm", "name of the thread", decode="text"),)),
            ),
            default="target",
        ),
        *STACK_OPTIONS,
    ),
    outputs=(Stacks("rows", (HITS,)),),
    examples=(
        ("stackcount vfs_fsync_range -d 10", "who has files written to disk, for ten seconds"),
        ("stackcount -U u:libc:malloc -- ls", "where a command allocates memory"),
        ("stackcount -f folded 't:block:*' -d 10", "trace events of block devices, for flame graphs"),
        ("stackcount --by target,comm usdt:python:gc__start", "where Python collects garbage"),
    ),
    notes=(
        "The help of funccount explains how functions and events are named, and which are not seen.",
        COMPAT_NOTE,
        *UNWIND_NOTES,
        "Before Linux 6.11, a recursive function of a program may show one call of itself too few.",
        "Symbols come from the mapped files; for stripped files, file+0xADDRESS is shown.",
        "Names are those at the time of the sample; [unloaded] is code that was replaced before it was read.",
        "Memory maps are read while a process lives: one that ends within some 50 ms may show [unknown].",
        "Before Linux 5.16, the stack of a return (kr:) ends at kretprobe_trampoline; fr: shows it all.",
        "On 5.10, t:syscalls:* has no kernel stack; t:raw_syscalls:sys_enter has one.",
        "[anon] is code of a JIT without a perf map; jitdump files are not read.",
        "Stacks are limited to 127 functions; a longer one ends with [cut].",
    ),
)
