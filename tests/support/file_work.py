"""Run a program that reads and writes files of its own folder by every system call, a known number of
times."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

COUNT = 23
HOSTILE = "read\n\x1b[2J"
# It begins once a line comes, and writes what /proc/self/io counted meanwhile to standard error.
_PROGRAM = """
import json, os, sys
folder, count = sys.argv[1], int(sys.argv[2])
os.chdir(folder)
block = bytes(1000)
flags = os.O_CREAT | os.O_RDWR
def counts():
    with open("/proc/self/io") as file:
        return dict((key, int(value)) for key, value in (line.split(": ") for line in file))
sys.stdin.readline()
before = counts()
for number in range(count):
    file = os.open("written", flags)
    os.write(file, block)
    os.pwrite(file, block, 1000)
    os.writev(file, [block, block])
    os.pwritev(file, [block, block], 4000)
    os.fsync(file)
    os.close(file)
    file = os.open("read\\n\\x1b[2J", os.O_RDONLY)
    os.read(file, 500)
    os.pread(file, 500, 100)
    os.readv(file, [bytearray(100), bytearray(100)])
    os.preadv(file, [bytearray(300)], 50)
    target = os.open("sent", flags)
    os.sendfile(target, file, 0, 700)
    os.close(target)
    target = os.open("copied", flags)
    os.copy_file_range(file, target, 600, 0, 0)
    os.close(target)
    os.close(file)
    file = os.open("synchronous", flags | os.O_SYNC)
    os.write(file, block)
    os.close(file)
    file = os.open("synchronous", os.O_WRONLY)
    try:
        os.read(file, 10)
    except OSError:
        pass
    os.close(file)
    ends = os.pipe()
    os.write(ends[1], b"12345")
    os.read(ends[0], 10)
    for end in ends:
        os.close(end)
after = counts()
os.write(2, json.dumps({key: after[key] - before[key] for key in after}).encode())
"""
# By file: reads, writes, bytes read, bytes written, each time.
DONE = {
    "written": (0, 4, 0, 6000),
    HOSTILE: (6, 0, 500 + 500 + 200 + 300 + 700 + 600, 0),
    "sent": (0, 1, 0, 700),
    "copied": (0, 1, 0, 600),
    "synchronous": (0, 1, 0, 1000),
}
# By file, operation and bytes, each time: those that are no transfers from file to file.
OPERATIONS: dict[tuple[str, str, int], int] = {
    ("written", "open", 0): 1,
    ("written", "write", 1000): 2,
    ("written", "write", 2000): 2,
    ("written", "sync", 0): 1,
    (HOSTILE, "open", 0): 1,
    (HOSTILE, "read", 500): 2,
    (HOSTILE, "read", 200): 1,
    (HOSTILE, "read", 300): 1,
    ("sent", "open", 0): 1,
    ("copied", "open", 0): 1,
    ("synchronous", "open", 0): 2,
    ("synchronous", "write", 1000): 1,
}


def command(folder: Path) -> list[str]:
    """Return a command that runs the program on a folder with the files that it reads."""
    (folder / HOSTILE).write_bytes(bytes(5000))
    return [sys.executable, "-c", _PROGRAM, str(folder), str(COUNT)]


def by_count(rows: Iterable[tuple[str, str, int]]) -> dict[tuple[str, str, int], int]:
    """Return how often each operation was found on the program's files; all of it, if none is missing."""
    counts: dict[tuple[str, str, int], int] = {}
    for row in rows:
        if row[0] in DONE:
            counts[row] = counts.get(row, 0) + 1
    return counts


def every(counts: dict[tuple[str, str, int], int]) -> dict[tuple[str, str, int], int]:
    """Repeat each call this many times."""
    return {key: COUNT * number for key, number in counts.items()}
