"""funclatency: how long functions take."""

from pytracer.spec import Column, GroupBy, Histogram, Key, Tracer, Unit
from pytracer.spec.common import BY_COMM, BY_PROCESS, FUNCTIONS, times
from pytracer.spec.filters import TASK_FILTERS

CALLS = Column("calls", "calls that returned", unit=Unit.COUNT)

TRACER = Tracer(
    name="funclatency",
    group="system",
    summary="latency of functions of the kernel or a program, as histograms",
    description="Histograms of the time from when a function is called until it returns, with percentiles.",
    hooks=(),
    arguments=FUNCTIONS,
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy(
            "by",
            "what a histogram stands for; several with commas",
            keys=(
                Key("target", (Column("target", "the function", decode="target"),)),
                BY_PROCESS,
                BY_COMM,
            ),
            default="target",
        ),
    ),
    outputs=(Histogram("rows", (CALLS, *times("calls")), label="latency"),),
    examples=(
        ("funclatency vfs_fsync_range -d 10", "how long it takes to write files to disk"),
        ("funclatency 'f:vfs_*' 1 5", "several functions, histograms each second, five times"),
        ("funclatency --by comm u:libc:getaddrinfo", "how long each program waits for names"),
        ("funclatency do_sys_openat2 -f json -- ls", "in one command, as JSON"),
    ),
    notes=(
        "funccount's help says what can be named, and what of it is not seen.",
        "The time is that of the clock, waiting included; the tracing of what is called in it, too.",
        "Each call counts, also of a function that calls itself. Those under way when the trace begins",
        "are not counted; those of programs that never return (exit, longjmp, exceptions) are lost: unwound.",
        "Percentiles are from buckets of an eighth of a power of two; AVG and MAX are exact.",
        "u: by probes on the instructions that return; code that does not tell where it does is refused.",
        "--hook ur=uretprobe takes the return probe of the kernel, which breaks Go and C++ exceptions.",
    ),
)
