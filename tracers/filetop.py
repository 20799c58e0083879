"""filetop: which files are read and written most."""

from pytracer.spec import Column, Flag, GroupBy, Key, Table, Tracer, Unit
from pytracer.spec.common import RETURN, TASK_KEYS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.io_uring import RING_FILES

FILE = Key(
    "file",
    (
        Column("inode", "number of the file in its file system", wide=True),
        Column("type", "file, block, socket, ...", decode="file_type", wide=True),
        Column("file", "the last part of its path", decode="text", null=b"", width=12),
    ),
)

TRACER = Tracer(
    name="filetop",
    group="files",
    summary="which files are read and written, by whom, how much",
    description="Adds up the reads and writes of files by process and file.",
    hooks=(RETURN, RING_FILES),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy("by", "the key of a row; several with commas", keys=(*TASK_KEYS, FILE), default="pid,file"),
        Flag("all", "sockets, pipes and devices as well", define="EVERY_TYPE"),
    ),
    outputs=(
        Table(
            "rows",
            (
                Column("reads", "reads that succeeded", unit=Unit.COUNT, width=6),
                Column("writes", "writes that succeeded", unit=Unit.COUNT, width=6),
                Column("read_bytes", "bytes that they read", label="READ", unit=Unit.BYTES, width=9),
                Column("write_bytes", "bytes that they wrote", label="WRITTEN", unit=Unit.BYTES, width=9),
            ),
            sort="read_bytes",
        ),
    ),
    examples=(
        ("filetop", "every process and file, a table a second"),
        ("filetop --by file --sort write_bytes -d 10", "the files that are written most, for ten seconds"),
        ("filetop --all --by pid 5", "all that processes read and write, every five seconds"),
    ),
    notes=(
        "By read, write and their other kinds, sendfile, splice and copy_file_range: the bytes that",
        "the calls returned, from the page cache or not. /proc/PID/io counts the same as rchar and wchar.",
        "By io_uring (Linux 5.18) too, but not its splice; comm is then the name of the process. What is",
        "read and written by mmap, and vectored by x32 programs, is not seen.",
        "Files of one name, number and type on two file systems are one row. Names are cut at 63 bytes.",
    ),
)
