"""The memory maps of processes, as far as they hold code."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_WHOLE = (1 << 64) - 1
_START_CODE, _END_CODE, _START_STACK = 26 - 3, 27 - 3, 28 - 3  # proc(5), counted from the state


@dataclass(frozen=True)
class Mapping:
    """A range of addresses with code: ``offset`` in the file of that ``device`` and ``inode`` (0: none)."""

    start: int
    end: int
    offset: int
    device: str
    inode: int
    path: str

    @property
    def name(self) -> str:
        """What people call it: the last part of its path."""
        return self.path.removesuffix(" (deleted)").rpartition("/")[2]


def image_of(pid: int) -> int:
    """What tells this run of a program from others, as ``pt_image`` of probes_c/include/stack.h computes it.

    0 where there is no such process, or where it may not be looked at.
    """
    try:
        text = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return 0
    fields = text.rpartition(b") ")[2].split()
    start, end, stack = (int(fields[at]) for at in (_START_CODE, _END_CODE, _START_STACK))
    return (start + 3 * end + 5 * stack) & _WHOLE if stack else 0


def read(pid: int) -> bytes:
    """/proc/PID/maps; empty where it is gone, or may not be looked at."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "maps").read_bytes()
    return b""


def parse(text: bytes) -> tuple[Mapping, ...]:
    """The mappings with code, in the order of their addresses."""
    found = []
    for line in text.splitlines():
        span, modes, offset, device, inode, *path = line.split(None, 5)
        if modes[2:3] == b"x":
            start, _, end = span.partition(b"-")
            found.append(
                Mapping(
                    int(start, 16),
                    int(end, 16),
                    int(offset, 16),
                    device.decode(),
                    int(inode),
                    path[0].decode("utf-8", "backslashreplace") if path else "",
                )
            )
    return tuple(found)


def open_file(pid: int, mapping: Mapping) -> int:
    """A descriptor of the file that is mapped, not of whatever bears its name now; -1 where there is none."""
    root = PROC / str(pid)
    exact = root / "map_files" / f"{mapping.start:x}-{mapping.end:x}"
    for path in (exact, root / "root" / mapping.path.lstrip("/")):
        # What is no file must not be opened: a device, a pipe.
        with contextlib.suppress(OSError), _Handle(path) as handle:
            found = os.fstat(handle)
            if stat.S_ISREG(found.st_mode) and (path is exact or found.st_ino == mapping.inode):
                return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    return -1


class _Handle:
    """A path looked up, but not opened."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_PATH | os.O_CLOEXEC)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
