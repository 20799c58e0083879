"""funclatency: how long functions take."""

from pytracer.spec import Column, GroupBy, Histogram, Key, Tracer, Unit
from pytracer.spec.common import BY_COMM, BY_PROCESS, BY_THREAD, FUNCTIONS, times
from pytracer.spec.filters import TASK_FILTERS

CALLS = Column("calls", "calls that returned", unit=Unit.COUNT)

TRACER = Tracer(
    name="funclatency",
    group="system",
    summary="latency of functions of the kernel or a program, as histograms",
    description="Shows histograms of the time from the call of a function to its return, with percentiles.",
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
                BY_THREAD,
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
        "The help of funccount explains how functions and events are named, and which are not seen.",
        "The time is elapsed time. It includes waits, and the cost of probes on functions called meanwhile.",
        "The last line says how much of each call's time is the part of the probes themselves (u:, x86-64).",
        "Each call counts, also a recursive one. Calls in progress at the start of the trace",
        "are not counted; calls that never return (exit, longjmp, exceptions) are counted as lost (unwound).",
        "Percentiles are at most 6.25 % off; AVG and MAX are exact.",
        "u: uses probes on return instructions; if these cannot be found, the function is refused.",
        "--hook ur=uretprobe uses the kernel's return probe, which breaks Go and C++ exceptions.",
    ),
)
