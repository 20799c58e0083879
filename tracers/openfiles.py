"""openfiles: the files that processes have open."""

from pytracer.spec import Alternative, Column, Flag, Hook, Iterator, Listing, Tracer
from pytracer.spec.common import ONLY_PATHS
from pytracer.spec.filters import PROCESS_FILTERS
from pytracer.spec.sockets import SOCKET_ENDS

OF = (
    Column("pid", "process id"),
    Column("comm", "name of the process", decode="text", width=15),
    Column("fd", "the descriptor", width=5),
)
INODE = Column("inode", "the number of its inode", width=10, wide=True)

TRACER = Tracer(
    name="openfiles",
    group="files",
    summary="the files that processes have open now",
    description="Lists each open file of each process, once, and ends.",
    hooks=(
        Hook("files", "files are open", (Alternative("iterator", (Iterator("listed", of="task_file"),)),)),
    ),
    filters=PROCESS_FILTERS,
    options=(
        ONLY_PATHS,
        Flag("sockets", "sockets alone, with both ends and state", define="SOCKETS", excludes="path"),
    ),
    outputs=(
        Listing(
            columns=(
                *OF,
                Column("type", "what it is", decode="file_type", width=6),
                Column("flags", "how it was opened", decode="open_flags", width=14),
                INODE,
                Column("offset", "where it is read and written next", width=10, wide=True),
                Column("path", "its path; its name alone before Linux 5.12", decode="text"),
            )
        ),
        Listing(columns=(*OF, *SOCKET_ENDS, INODE), when="sockets"),
    ),
    examples=(
        ("openfiles -p 1", "what process 1 has open"),
        ("openfiles --path '/mnt/*'", "who keeps what is mounted there busy"),
        ("openfiles -p nginx --sockets", "its sockets: addresses, ports, state"),
        ("openfiles -u www-data -f json", "what all processes of a user have, as JSON"),
        ("openfiles --container web --wide", "what a container has, with offsets"),
    ),
    notes=(
        "It is one pass over all processes: files opened or closed meanwhile may be missing or shown.",
        "Paths are those in pytracer's mount namespace; deleted files are marked.",
        "For a path longer than 4096 bytes only the file's name is shown; it is counted as truncated.",
        "--path needs Linux 5.12; it compares the first 252 bytes.",
        "A thread with a table of files of its own is shown under its process.",
        "A socket has the other end that getpeername(2) returns; that of a unix socket may have no name.",
        "--cgroup tests 16 levels of ancestors.",
    ),
)
