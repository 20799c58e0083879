"""filelife: files that live briefly."""

from pytracer.spec import Column, Duration, Stream, Tracer, Unit
from pytracer.spec.common import ONLY_PATHS, return_of
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.io_uring import RING_FILES

CALLS = "open creat openat openat2 unlink unlinkat rename renameat renameat2"

TRACER = Tracer(
    name="filelife",
    group="files",
    summary="files that are created and removed again: by whom, how long they lived",
    description="Shows each file that is removed after it was created while the trace runs.",
    hooks=(return_of(CALLS), RING_FILES),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Duration("max", "only those that lived no longer than this; 0: all", config="max", default=0),
        ONLY_PATHS,
    ),
    outputs=(
        Stream(
            columns=(
                Column("pid", "the process that removed it"),
                Column("tid", "its thread", wide=True),
                Column("comm", "name of the thread", decode="text", width=12),
                Column(
                    "call", "how: unlink, or rename of another file to its name", decode="syscall", width=9
                ),
                Column("creator", "the process that created it"),
                Column("age_ns", "how long it lived", label="AGE", unit=Unit.NANOSECONDS),
                Column("path", "the path as the program gave it", decode="text"),
            )
        ),
    ),
    examples=(
        ("filelife", "every such file of the machine"),
        ("filelife --max 1s -- make", "what a build makes and removes within a second"),
        ("filelife --path '/tmp/*' -f json", "in /tmp, as JSON"),
    ),
    notes=(
        "Created: by open, openat, openat2 or creat. Removed: by unlink, unlinkat, or when another file gets",
        "its name by rename. Not seen: folders, and files made by mknod, link or open_by_handle_at.",
        "Operations of io_uring are seen (Linux 5.18), except opens into a fixed file; with filters, files",
        "that others create by io_uring are not. Failed calls are not shown.",
        "Filters test the process that removes. The last 16384 created names are kept.",
        "A file that was renamed is followed; one that was exchanged (RENAME_EXCHANGE) may be missed.",
        "At most four files of one name in different folders are followed at a time; others are lost.",
    ),
)
