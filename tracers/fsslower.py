"""fsslower: operations on files that take long."""

from pytracer.spec import Column, Duration, Stream, Tracer, Unit
from pytracer.spec.common import RETURN_TIMED, TASK_COLUMNS
from pytracer.spec.file_work import FS_NOTES, OPERATION
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.io_uring import RING_FILES

TRACER = Tracer(
    name="fsslower",
    group="files",
    summary="opens, reads, writes and syncs of files that take long, on any file system",
    description="Shows each operation on a regular file that takes at least --min, as it ends.",
    hooks=(RETURN_TIMED, RING_FILES),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Duration(
            "min",
            "those that take so long: 10ms, 500us, 2s; a bare number is ms",
            short="m",
            config="min",
            default=10_000_000,
        ),
    ),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                OPERATION,
                Column("bytes", "bytes read or written", unit=Unit.BYTES),
                Column("offset", "where in the file; none: by io_uring", unit=Unit.BYTES, wide=True, null=-1),
                Column("took_ns", "how long it took", label="TOOK", unit=Unit.NANOSECONDS),
                Column("sync", "1: opened with O_SYNC or O_DSYNC", wide=True),
                Column("fs", "type of the file system", decode="text", width=6),
                Column("inode", "number of the file in its file system", wide=True),
                Column("file", "the last part of its path", decode="text"),
            )
        ),
    ),
    examples=(
        ("fsslower", "operations of 10 ms and more of the whole machine"),
        ("fsslower --min 0 -- cp a b", "every operation of a command"),
        ("fsslower -m 1 --comm postgres -f json", "those of 1 ms and more of one program, as JSON"),
    ),
    notes=FS_NOTES,
)
