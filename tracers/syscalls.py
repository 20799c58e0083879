"""syscalls: counts, errors and latency of system calls."""

from pytracer.spec import Column, Flag, GroupBy, Histogram, Key, Profile, Table, Tracer, Unit
from pytracer.spec.common import ANSWERED, ONLY_CALLS, RETURNED, SECCOMP, SYSCALL_BEGINS, TASK_KEYS, times
from pytracer.spec.filters import TASK_FILTERS

CALLS = Column("calls", "calls that returned", unit=Unit.COUNT)
ERRORS = Column("errors", "calls that returned an error", unit=Unit.COUNT)
SIGNAL = Column("interrupted", "calls that a signal interrupted", unit=Unit.COUNT)
INTERRUPTED = Column(SIGNAL.name, SIGNAL.help, unit=SIGNAL.unit, wide=True)
DENIED = Column("denied", "calls that the profile answered with an error", unit=Unit.COUNT)
TOTAL, AVERAGE, MAX = times("calls")
CALL = Column("syscall", "the system call", field="call", decode="syscall")
ERRNO = Column("errno", "the error, by name (ERESTART*: interrupted)", field="error", decode="errno")
COUNTERS = (CALLS, ERRORS, INTERRUPTED)
KEYS = (Key("syscall", (CALL,)), *TASK_KEYS)

TRACER = Tracer(
    name="syscalls",
    group="system",
    summary="system calls: counts, errors and latency, by call, process or name",
    description="Counts system calls as they return, with their errors and the time they took.",
    hooks=RETURNED,
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy("by", "what a row stands for; several with commas", keys=KEYS, default="syscall"),
        Flag("latency", "histograms of the time calls took", define="LATENCY"),
        Flag("errno", "errors by errno", define="BY_ERRNO"),
        Flag("count", "calls alone, as they begin: costs least", define="COUNT"),
        ONLY_CALLS,
        *SECCOMP,
    ),
    outputs=(
        Table("rows", (*COUNTERS, TOTAL, AVERAGE), sort="total_ns", dense="dense"),
        Histogram("rows", (CALLS, TOTAL, AVERAGE, MAX), when="latency", label="latency"),
        Table("rows", (ERRORS, SIGNAL), when="errno", keys=(ERRNO,), sort="errors"),
        Table("rows", (CALLS,), when="count", sort="calls", dense="dense", hooks=(SYSCALL_BEGINS,)),
        Profile("rows", (CALLS,), when="profile", sort="calls", dense="dense", hooks=(SYSCALL_BEGINS,)),
        Table("rows", (*COUNTERS, DENIED), when="enforce", sort="denied", dense="dense", hooks=ANSWERED),
    ),
    examples=(
        ("syscalls", "every system call of the machine, a table a second"),
        ("syscalls -- make -j2", "what one command and its children call"),
        ("syscalls -p 1 --by pid,syscall 5 12", "process 1, a table every five seconds for a minute"),
        ("syscalls --errno --by comm -d 10 -f json", "who fails, and how, as JSON"),
        ("syscalls --profile -o ls.json -- ls", "what ls calls, as a profile for container runtimes"),
        ("syscalls --enforce ls.json -- ls -l", "ls under it, and which calls it was denied"),
    ),
    notes=(
        "Calls count when they return: exit, exit_group and calls rejected by seccomp do not count.",
        "A call that a signal interrupts (ERESTART*) counts as a call, not as an error; so does its restart.",
        "Calls of other ABIs have a prefix: i386:openat, x32:read, arm:write.",
        "If a second has more than --max-rows rows, further calls are counted as lost.",
    ),
)
