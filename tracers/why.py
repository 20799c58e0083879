"""why: where the time of processes goes."""

from pytracer.spec import Breakdown, Number, Tracer
from pytracer.spec.common import MAPPING, SAMPLED, STACK_OPTIONS, SYSCALL_EVENTS, WAKEUP_AND_SWITCH
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.waits import NEXT, THREADS, TIME_COLUMNS, TIME_TOTALS, WAIT_KEYS

TRACER = Tracer(
    name="why",
    group="processes",
    summary="why it is slow: where the time of threads goes, and what they wait for",
    description="Divides the time of threads: on CPUs, waiting for one, or blocked, and by what.",
    hooks=(WAKEUP_AND_SWITCH, SYSCALL_EVENTS, SAMPLED, MAPPING, THREADS),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Number("frequency", "samples a second of threads that run", short="F", default=99, metavar="HZ"),
        *STACK_OPTIONS,
    ),
    keys=WAIT_KEYS,
    outputs=(Breakdown("rows", TIME_COLUMNS, next=NEXT),),
    totals=TIME_TOTALS,
    examples=(
        ("why -p 1234 -d 10", "where the time of one process goes"),
        ("why -p postgres --children 5", "a service of several processes, a page every five seconds"),
        ("why -- make", "a command and its descendants, from its start to its end"),
        ("why -p 1234 -d 10 -f json", "all classes, calls, files, other ends and stacks, as JSON"),
    ),
    notes=(
        "The classes add up to the time that threads were there (life_ns): its length for each thread.",
        "user, kernel: on a CPU, outside and in system calls. The time is measured, its stacks are sampled.",
        "runnable: waiting for a CPU, after a wake-up or preempted.",
        "disk: calls on files and directories, and what the kernel counts as a wait for I/O (iowait).",
        "network: IPv4 and IPv6 sockets, with the other end, or the own port of one that listens.",
        "lock: futexes by address, semaphores, locks of files. pipe: also Unix sockets, message queues.",
        "events: epoll, poll and select, io_uring, eventfd, timerfd, signals: often a service that is idle.",
        "fault: page faults of user code that wait; all others count as the mode they interrupt.",
        "stopped: by signals or a debugger. other: all else, such as terminals; it is never spread.",
        "A wait that began before the trace has no stack. A file is shown by the last part of its path.",
        "Interrupts and steal are in the mode they interrupt; the total says how much they took (taken_ns).",
        "Before Linux 5.11 iowait is unknown: only calls with a descriptor are disk.",
        "With INTERVAL, a state that ends just as it is read may count twice or not, and life_ns differs.",
    ),
)
