"""trace: values of expressions at functions, trace events and USDT probes, as they occur."""

from pytracer.spec import Column, ProbeSpecArguments, Stream, Tracer
from pytracer.spec.common import COMPAT_NOTE, STRING_SIZE
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="trace",
    group="system",
    summary="calls of functions, trace events and USDT probes, with the values that you name",
    description="Shows each call or event that passes a filter, with the named values.",
    hooks=(),
    arguments=ProbeSpecArguments(
        "SPEC",
        'a probe spec: PROBE[(SIGNATURE)] [(FILTER)] ["FORMAT", ARGUMENTS]',
        examples=("t:sched:sched_switch",),
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(STRING_SIZE,),
    outputs=(
        Stream(
            columns=(
                Column("pid", "process id"),
                Column("tid", "thread id"),
                Column("comm", "name of the thread", decode="text", width=15),
                Column("probe", "the event", field="target", decode="target", width=18),
                Column("text", "the formatted text", decode="text", computed=True),
            )
        ),
    ),
    examples=(
        ("trace t:syscalls:sys_enter_openat -- ls", "all its fields"),
        ("trace 't:syscalls:sys_enter_openat \"%s\", args->filename'", "the files that are opened"),
        ("trace 'k:vfs_read \"%s %d\", file->f_path.dentry->d_name.name, count'", "what is read"),
        ("trace 'u:libc:malloc(size_t n) (n > 9999) \"%d\", n' -p 1", "large allocations"),
        ("trace 'r:bash:readline \"%s\", retval'", "what is typed into bash"),
        ("trace 'kr:vfs_read \"%d of %d\", retval, $entry(count)' -- ls", "what a command reads"),
    ),
    notes=(
        "docs/probe-specs.md describes the language, and the differences from BCC's trace.",
        "An argument that cannot be read is a dash (JSON: null); a filter that cannot be read is false.",
        "JSON, CSV and --wide tables have a column for each argument, named by its text.",
        COMPAT_NOTE,
        "With -p or -- COMMAND, u: and usdt: are found as for funccount.",
    ),
)
