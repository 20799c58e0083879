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
        "funccount's help says what can be named, and what of it is not seen.",
        "The time is that of the clock, waiting included; the tracing of what is called in it, too.",
        "A function that returns nothing leaves something in the register; one that returns an int, 32 bits.",
        "Arguments: integers and addresses, as they were at the call; of f: as many as there are, else six.",
        "Arguments of 32-bit programs are on their stack: what is shown for them are registers.",
        "Calls under way when the trace begins are not shown, nor those that never return.",
        "u: by probes on the instructions that return; code that does not tell where it does is refused.",
        "--hook ur=uretprobe takes the return probe of the kernel, which breaks Go and C++ exceptions.",
    ),
)
