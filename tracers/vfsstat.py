"""vfsstat: calls of the virtual file system."""

from pytracer.spec import Column, Fentry, GroupBy, Kprobe, Table, Tracer, Unit
from pytracer.spec.common import TASK_KEYS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.hooks import Alternative, Hook

FUNCTIONS = {
    "reads": "vfs_read",
    "writes": "vfs_write",
    "opens": "vfs_open",
    "unlinks": "vfs_unlink",
    "renames": "vfs_rename",
    "mkdirs": "vfs_mkdir",
}
CALL = Hook(
    "called",
    "functions of the virtual file system are called",
    (
        Alternative("fentry", tuple(Fentry(name, function=call) for name, call in FUNCTIONS.items())),
        Alternative("kprobe", tuple(Kprobe(name, symbols=(call,)) for name, call in FUNCTIONS.items())),
    ),
)

TRACER = Tracer(
    name="vfsstat",
    group="files",
    summary="rates of the kernel's file operations: reads, writes, opens, ...",
    description="Counts calls of functions of the kernel's virtual file system, also its own calls.",
    hooks=(CALL,),
    filters=TASK_FILTERS,
    follow=True,
    options=(GroupBy("by", "the key of a row; several with commas", keys=TASK_KEYS),),
    outputs=(
        Table(
            "rows",
            tuple(
                Column(name, f"calls of {call}", unit=Unit.COUNT, width=7) for name, call in FUNCTIONS.items()
            ),
            sort="reads",
        ),
    ),
    examples=(
        ("vfsstat", "the whole machine, a line a second"),
        ("vfsstat --by comm --sort writes -d 10", "by name, for ten seconds"),
    ),
    notes=(
        "Calls count at entry, whether they succeed or not: on files, sockets, pipes, /proc and others.",
        "vfs_read and vfs_write are passed by read, write and their positioned kinds, not by vectored ones,",
        "sendfile, splice and io_uring, nor by page faults. A file that open creates is an open.",
        "Where the kernel's compiler has put one of them into its callers, too few are counted. So fsync and",
        "rmdir are left out (Linux 7.2 and 5.10); the others are right on 5.10, 6.1, 6.12 and 7.2.",
        "An operation on overlayfs counts again in the file system below it.",
        "It needs kprobes or trampolines. Without: syscalls -e read,write,openat,fsync counts system calls.",
    ),
)
