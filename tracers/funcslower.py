"""funcslower: calls of functions that take long."""

from pytracer.spec import Column, Duration, Flag, Stream, Tracer, Unit
from pytracer.spec.common import FUNCTIONS
from pytracer.spec.filters import TASK_FILTERS

CALL = (
    Column("pid", "process id"),
    Column("tid", "thread id", wide=True),
    Column("comm", "name of the thread", decode="text", width=15),
    Column("latency_ns", "from the call to the return", label="LATENCY", unit=Unit.NANOSECONDS),
    Column("returned", "what was returned, as a register has it", decode="register", width=18),
    Column("target", "the function", decode="target"),
)

TRACER = Tracer(
    name="funcslower",
    group="system",
    summary="calls of functions of the kernel or a program that take long, one by one",
    description="Shows each call of a function that takes at least --min, as it returns, with its result.",
    hooks=(),
    arguments=FUNCTIONS,
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Duration(
            "min", "those that take so long: 10ms, 500us, 2s; a bare number is ms", short="m", config="min"
        ),
        Flag("args", "the first six arguments, as registers have them", short="a", define="WITH_ARGS"),
    ),
    outputs=(
        Stream(columns=CALL),
        Stream(columns=(*CALL, Column("args", "the arguments", decode="registers")), when="args"),
    ),
    examples=(
        ("funcslower vfs_fsync_range -m 20", "writes to disk that take 20 ms and more"),
        ("funcslower 'f:vfs_*' --min 500us -a", "by trampolines, with arguments"),
        ("funcslower u:libc:getaddrinfo -m 1s -p 1", "look-ups of names of process 1"),
        ("funcslower k:do_sys_openat2 --min 0 -f json -- ls", "every call in one command, as JSON"),
    ),
    notes=(
        "The help of funccount explains how functions and events are named, and which are not seen.",
        "The time is elapsed time. It includes waits, and the cost of probes on functions called meanwhile.",
        "RESULT is a register: for a function without a result it has no meaning, for an int 32 bits count.",
        "Arguments are integers and addresses at the call: with f: all of them, else the first six.",
        "Arguments of 32-bit programs are on the stack, so the values shown for them have no meaning.",
        "Calls in progress at the start, and calls that never return, are not shown.",
        "u: uses probes on return instructions; if these cannot be found, the function is refused.",
        "--hook ur=uretprobe uses the kernel's return probe, which breaks Go and C++ exceptions.",
    ),
)
