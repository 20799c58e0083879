"""opensnoop: files as they are opened."""

from pytracer.spec import Column, Stream, Tracer
from pytracer.spec.common import ERROR, ONLY_FAILED, ONLY_PATHS, return_of
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.io_uring import RING_FILES

TRACER = Tracer(
    name="opensnoop",
    group="files",
    summary="files as they are opened, and failed opens",
    description="Shows each open, openat, openat2 and creat as it returns: process, path, result.",
    hooks=(return_of("open creat openat openat2"), RING_FILES),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        ONLY_FAILED,
        ONLY_PATHS,
    ),
    outputs=(
        Stream(
            columns=(
                Column("pid", "process id"),
                Column("comm", "name of the thread", decode="text", width=15),
                Column("fd", "the descriptor it got", null=-1, width=3),
                ERROR,
                Column("flags", "how it was opened", decode="open_flags", width=14),
                Column("path", "the path as the program gave it", decode="text"),
            )
        ),
    ),
    examples=(
        ("opensnoop", "every open of the machine"),
        ("opensnoop -x -- make", "what a command and its children did not find"),
        ("opensnoop --path '/etc/*'", "what is opened in /etc"),
        ("opensnoop -p 1 -T", "process 1, with the time"),
        ("opensnoop -u www-data -f json", "one user's, as JSON"),
    ),
    notes=(
        "Relative paths are shown as given: relative to the working directory, or to openat's folder.",
        "--path compares the first 252 bytes of the path as given; it resolves no links or mounts.",
        "The path is read when the call returns; another thread may have changed it by then.",
        "Opens by io_uring (Linux 5.18) show 255 bytes of the path, the name of the process, and no FD for",
        "fixed files. Not seen: open_by_handle_at, and opens of pipes and sockets.",
        "An open that a signal interrupts (ERESTARTSYS) is shown, except by -x; its restart is shown again.",
    ),
)
