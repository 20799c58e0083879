"""fsdist: how long operations on files take."""

from pytracer.spec import Column, GroupBy, Histogram, Key, Tracer, Unit
from pytracer.spec.common import RETURN_TIMED, TASK_KEYS, times
from pytracer.spec.file_work import FS_NOTES, OPERATION
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.io_uring import RING_FILES

TRACER = Tracer(
    name="fsdist",
    group="files",
    summary="how long opens, reads, writes and syncs of files take, as histograms",
    description="Shows histograms of the time that operations on regular files take, on any file system.",
    hooks=(RETURN_TIMED, RING_FILES),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy(
            "by",
            "what a histogram stands for; several with commas",
            keys=(
                Key("operation", (OPERATION,)),
                Key("fs", (Column("fs", "type of the file system", decode="text"),)),
                *TASK_KEYS,
            ),
            default="operation",
        ),
    ),
    outputs=(
        Histogram(
            "rows",
            (Column("operations", "operations that ended", unit=Unit.COUNT), *times("operations")),
            label="latency",
        ),
    ),
    examples=(
        ("fsdist", "the whole machine, a histogram of each operation a second"),
        ("fsdist --by fs,operation 5", "each type of file system apart, every five seconds"),
        ("fsdist -f json -- make", "one command and its descendants, as JSON"),
    ),
    notes=FS_NOTES,
)
