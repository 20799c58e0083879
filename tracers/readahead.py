"""readahead: pages that are read ahead, and whether they are used."""

from pytracer.spec import Column, GroupBy, RawTracepoint, Table, Tracer, Unit
from pytracer.spec.common import RETURN, TASK_KEYS
from pytracer.spec.file_work import PAGE_ADDED
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.hooks import Alternative, Hook

REMOVAL = Hook(
    "removed",
    "pages leave the page cache",
    (Alternative("raw-tracepoint", (RawTracepoint("removed", event="mm_filemap_delete_from_page_cache"),)),),
)

TRACER = Tracer(
    name="readahead",
    group="files",
    summary="pages that reads of files read ahead, and whether they were read or left the cache before",
    description="Counts pages that are read ahead, those that are read then, and those that never are.",
    hooks=(RETURN, PAGE_ADDED, REMOVAL),
    filters=TASK_FILTERS,
    follow=True,
    options=(GroupBy("by", "the key of a row; several with commas", keys=TASK_KEYS),),
    outputs=(
        Table(
            "rows",
            (
                Column("ahead", "pages that were read ahead", unit=Unit.COUNT, width=9),
                Column("used", "of these, pages that were read since", unit=Unit.COUNT, width=9),
                Column("unused", "of these, pages that left the cache unread", unit=Unit.COUNT, width=9),
                Column(
                    "total_ns", "time until they were read", label="TOTAL", unit=Unit.NANOSECONDS, wide=True
                ),
                Column("avg_ns", "mean time", label="AVG", unit=Unit.NANOSECONDS, ratio=("total_ns", "used")),
                Column("max_ns", "the longest", label="MAX", unit=Unit.NANOSECONDS, max=True),
            ),
            sort="ahead",
        ),
    ),
    examples=(
        ("readahead", "the whole machine, a line a second"),
        ("readahead --by pid -d 60", "by the process whose reads read ahead, for a minute"),
    ),
    notes=(
        "Read ahead: added to the page cache during a read, behind the part of the file that it asks for.",
        "Pages that are neither used nor unused are still in the cache, or beyond the 262144 tracked ones.",
        "Used: by read, pread64, readv, preadv, preadv2, of any process. Use by mmap, sendfile, splice and",
        "io_uring is not seen: such pages are unused once they leave the cache. So are files of overlayfs,",
        "whose pages are another file's. What page faults, fadvise and readahead(2) bring in is not counted.",
        "Before Linux 5.17, pages after the first 512 of one read are not counted (lost: unread).",
    ),
)
