"""syncsnoop: who has data written to disks, and how long it takes."""

from pytracer.spec import Column, Duration, Stream, Tracer, Unit
from pytracer.spec.common import ERROR, ONLY_FAILED, RETURN_TIMED, TASK_COLUMNS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.io_uring import RING_FILES

TRACER = Tracer(
    name="syncsnoop",
    group="files",
    summary="sync, fsync, msync and similar calls: process, file, latency",
    description="Shows each system call that synchronizes data to disks, as it returns, with its latency.",
    hooks=(RETURN_TIMED, RING_FILES),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Duration("min", "only those that took at least this long", config="min", default=0),
        ONLY_FAILED,
    ),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                Column("call", "the system call", decode="syscall", width=9),
                Column("fd", "the descriptor of the file, if it has one", null=-1, width=4),
                ERROR,
                Column("took_ns", "how long it took", label="TOOK", unit=Unit.NANOSECONDS),
                Column("file", "the last part of the file's name", decode="text", null=b""),
            )
        ),
    ),
    examples=(
        ("syncsnoop", "every such call of the machine"),
        ("syncsnoop --min 10ms", "those that took 10 ms and more"),
        ("syncsnoop -f json -- dpkg -i package.deb", "those of one command, as JSON"),
    ),
    notes=(
        "The calls are sync, syncfs, fsync, fdatasync, msync and sync_file_range, of every ABI.",
        "Those by io_uring (Linux 5.18) show the call that does the same, and no FD. Writes to files that",
        "are open with O_SYNC or O_DSYNC are not shown.",
        "FILE is the file of the descriptor when the call returns; - if it was closed or replaced.",
        "Calls in progress at the start are not shown. msync has an address instead of a descriptor.",
    ),
)
