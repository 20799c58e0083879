"""Hooks, keys and notes of the tracers of files."""

from __future__ import annotations

from pytracer.spec.columns import Column, Key, Unit
from pytracer.spec.common import RETURN
from pytracer.spec.hooks import Alternative, Hook, RawTracepoint
from pytracer.spec.options import GroupBy
from pytracer.spec.outputs import Table

BY_ACTOR = Key(
    "pid",
    (
        Column("pid", "process id; none: a thread of the kernel", null=0),
        Column("comm", "its latest name", last=True, null=b""),
    ),
)
BY_ACTOR_NAME = Key(
    "comm", (Column("comm", "name of the thread; none: the kernel's", decode="text", null=b""),)
)
BY_FILE = Key(
    "file",
    (
        Column("inode", "number of the file in its file system", wide=True),
        Column("file", "the last part of its path; none: no file's", decode="text", null=b""),
    ),
)
"""Rows by whoever uses a file, and by the file."""

PAGE_ADDED = Hook(
    "added",
    "pages are added to the page cache",
    (Alternative("raw-tracepoint", (RawTracepoint("added", event="mm_filemap_add_to_page_cache"),)),),
)
CACHE = (
    RETURN,
    PAGE_ADDED,
    Hook(
        "dirtied",
        "pages are dirtied",
        (
            Alternative("raw-tracepoint", (RawTracepoint("dirtied", event="writeback_dirty_folio"),)),
            # Before Linux 5.16 (b9b0ff61eef5).
            Alternative("raw-tracepoint-page", (RawTracepoint("dirtied", event="writeback_dirty_page"),)),
        ),
    ),
)
"""A read ends (``returned``), a page is added (``added``) or dirtied (``dirtied``); probes_c/cachestat.c."""

CACHE_OUTPUT = Table(
    "rows",
    (
        Column("hits", "pages that reads took from the cache and that were there", unit=Unit.COUNT, width=9),
        Column("misses", "pages that reads waited for, added while they did", unit=Unit.COUNT, width=9),
        Column("pages", "pages that reads took: both of them", unit=Unit.COUNT, wide=True),
        Column(
            "hit_percent", "hits of these pages", label="HIT%", unit=Unit.PERCENT, ratio=("hits", "pages")
        ),
        Column("added", "pages added to the cache, for whatever: see below", unit=Unit.COUNT, width=9),
        Column("dirtied", "pages that became dirty", unit=Unit.COUNT, width=9),
    ),
    sort="pages",
)
CACHE_NOTES = (
    "Reads are read, pread64, readv, preadv and preadv2 through the page cache, so not with O_DIRECT.",
    "ADDED counts misses, readahead, and pages of page faults, writes, sendfile and metadata.",
    "A page that was read ahead is a hit, even if the disk has not delivered it yet.",
    "mmap, sendfile, splice, io_uring, and vectored reads of x32 programs are neither hits nor misses.",
    "A page that another task adds meanwhile is a hit. Reads in flight at the start may lack misses.",
    "A large folio is added and dirtied as a whole, so all its pages count. A page has 4096 bytes.",
    "/proc/PID/io counts pages added from disks (read_bytes) and dirtied (write_bytes) by a process.",
)


def by_cache_key(default: str) -> GroupBy:
    """Return the option --by of the page cache's tracers."""
    return GroupBy(
        "by",
        "the key of a row; several with commas",
        keys=(BY_ACTOR, BY_ACTOR_NAME, BY_FILE),
        default=default,
    )


OPERATION = Column("operation", "open, read, write or sync", label="OP", decode="file_operation", width=5)
FS_NOTES = (
    "Opens, reads and writes of every kind, fsync and fdatasync, as system calls of programs: also what the",
    "page cache answers. With O_SYNC or O_DSYNC a write waits for the disk: that is in its time.",
    "Regular files alone, of any file system: also /proc and /sys. Calls that fail are left out.",
    "Of io_uring (Linux 5.18), reads, writes and fsync, from their submission on; no opens. mmap, sendfile,",
    "splice and vectored calls of x32 programs are not seen, nor is writeback, which nobody waits for.",
    "Calls in progress at the start of the trace are not shown.",
)
"""Operations on files: probes_c/include/fsops.h."""
