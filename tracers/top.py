"""top: use of CPUs, memory and disks by process."""

from pytracer.spec import Column, GroupBy, Number, Table, Tracer, Unit
from pytracer.spec.common import BY_COMM, BY_PROCESS, BY_THREAD, CONTEXT_SWITCH, SAMPLED, SYSCALL_EVENT
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.tcp import SOCKET_BYTES

NS = Unit.NANOSECONDS
COLUMNS = (
    Column("cpu_ns", "time on CPUs", label="CPU", unit=NS),
    Column("queued_ns", "time that threads waited for a CPU", label="RUNQ", unit=NS),
    Column("blocked_ns", "time asleep or blocked, once it is over", label="OFF", unit=NS),
    Column("calls", "system calls", unit=Unit.COUNT),
    Column("minor_faults", "page faults without I/O", label="FAULTS", unit=Unit.COUNT, wide=True),
    Column("major_faults", "page faults that had to read", label="MAJOR", unit=Unit.COUNT, wide=True),
    Column("read_bytes", "bytes read from block devices", label="READ", unit=Unit.BYTES, wide=True),
    Column("written_bytes", "bytes for block devices", label="WRITE", unit=Unit.BYTES, wide=True),
    Column("tx_bytes", "bytes sent by IPv4 and IPv6", label="TX", unit=Unit.BYTES, wide=True),
    Column("rx_bytes", "bytes received by them", label="RX", unit=Unit.BYTES, wide=True),
)

TRACER = Tracer(
    name="top",
    group="processes",
    summary="what processes take: CPUs, waits, sleep, system calls, faults, disks, network",
    description="Shows what each process takes of the machine, by one set of programs.",
    hooks=(CONTEXT_SWITCH, SYSCALL_EVENT, SOCKET_BYTES, SAMPLED),
    filters=TASK_FILTERS,
    follow=True,
    live=True,
    options=(
        GroupBy(
            "by",
            "the key of a row; several with commas",
            keys=(BY_PROCESS, BY_THREAD, BY_COMM),
            default="pid",
        ),
        Number("frequency", "readings a second of threads that run", short="F", default=20, metavar="HZ"),
    ),
    outputs=(Table("rows", COLUMNS, sort="cpu_ns"),),
    examples=(
        ("top", "every process: on a terminal a live screen, else a table a second"),
        ("top -p 1234 --by tid,comm", "the threads of one process"),
        ("top --wide --sort read_bytes 5", "who reads from disks, every five seconds"),
        ("top --no-live -- make -j8", "what a command and its descendants take"),
    ),
    notes=(
        "CPU and RUNQ are the kernel's own sums (/proc/PID/schedstat), READ and WRITE those of /proc/PID/io.",
        "A thread is read when it leaves its CPU, and by samples; time asleep counts when it is over.",
        "What a thread did before it was seen first is not counted. Writes count when pages become dirty.",
    ),
)
