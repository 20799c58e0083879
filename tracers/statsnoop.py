"""statsnoop: calls that read attributes of files."""

from pytracer.spec import Column, Stream, Tracer
from pytracer.spec.common import ERROR, ONLY_FAILED, ONLY_PATHS, TASK_COLUMNS, return_of
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.io_uring import RING_FILES

CALLS = (
    "stat lstat oldstat oldlstat stat64 lstat64 statfs statfs64 fstat oldfstat fstat64 fstatfs "
    "fstatfs64 newfstatat fstatat64 statx ustat"
)

TRACER = Tracer(
    name="statsnoop",
    group="files",
    summary="stat, statx, statfs and similar calls: process, path, error",
    description="Shows each system call that reads attributes of a file or file system, as it returns.",
    hooks=(return_of(CALLS), RING_FILES),
    filters=TASK_FILTERS,
    follow=True,
    options=(ONLY_FAILED, ONLY_PATHS),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                Column("call", "the system call", decode="syscall", width=10),
                Column("fd", "the descriptor it is given, if any", null=-1, width=3),
                ERROR,
                Column("path", "the path as the program gave it", decode="text"),
            )
        ),
    ),
    examples=(
        ("statsnoop", "every such call of the machine"),
        ("statsnoop -x -- make", "what a command and its children looked for and did not find"),
        ("statsnoop --path '/etc/*' -f json", "what is looked at in /etc, as JSON"),
    ),
    notes=(
        "The calls are stat, lstat, fstat, newfstatat, statx, statfs, fstatfs, ustat and older forms.",
        "Calls of 32-bit programs have a prefix (i386:stat64). FD is the folder of a relative path.",
        "fstat and fstatfs have a descriptor and no path; the C library's fstat(3) may be newfstatat with an",
        "empty path. The help of opensnoop explains paths. statx by io_uring has call statx (Linux 5.18).",
    ),
)
