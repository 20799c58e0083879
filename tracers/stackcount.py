"""stackcount: by which way functions are called, and events happen."""

from pytracer.spec import Column, GroupBy, Key, Stacks, Targets, Tracer, Unit
from pytracer.spec.common import COMPAT_NOTE, MAPPING, STACK_OPTIONS
from pytracer.spec.filters import TASK_FILTERS

HITS = Column("hits", "number of hits", unit=Unit.COUNT)

TRACER = Tracer(
    name="stackcount",
    group="system",
    summary="stacks that lead to functions and events, of the kernel or a program",
    description="Counts calls of functions, trace events and USDT probes by the stack that led there.",
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
        "funccount's help says what can be named, and what of it is not seen.",
        COMPAT_NOTE,
        "Stacks are walked by frame pointers: without, callers are missing or [no frame pointer] ends them.",
        "A function of a program that calls itself may show one call less of its own (before Linux 6.11).",
        "Symbols are from the files that are mapped; of stripped ones, file+0xADDRESS is shown.",
        "Names are those of the time of the sample: [unloaded] is what was replaced before it could be read.",
        "Memory maps are read while a process lives: what ends within some 50 ms may show [unknown].",
        "Before Linux 5.16 the stack of a return (kr:) ends at kretprobe_trampoline; fr: shows all of it.",
        "Older kernels (5.10) hand out no kernel part for t:syscalls:*; t:raw_syscalls:sys_enter has it.",
        "[anon] is code that a program made (a JIT), and that no perf map names; jitdump files are not read.",
        "A stack of 127 functions may have had more: it ends with [cut].",
    ),
)
