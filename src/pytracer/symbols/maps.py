"""The memory maps of processes, as far as they hold code."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path

from pytracer.record import record

PROC = Path("/proc")
VDSO = "[vdso]"
_WHOLE = (1 << 64) - 1
_LIMIT = 1 << 22  # bytes of a map, and ranges with code, that are looked at: nobody needs as many
_RANGES = 4096
_BEGAN, _START_CODE, _END_CODE, _START_STACK = (
    22 - 3,
    26 - 3,
    27 - 3,
    28 - 3,
)  # proc(5), counted from the state


@record
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


def started(pid: int) -> float:
    """When a process began, in seconds since the epoch. Raises OSError where there is none."""
    fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b") ")[2].split()
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_BEGAN]) / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def read(pid: int) -> bytes:
    """/proc/PID/maps; empty where it is gone, or may not be looked at."""
    with contextlib.suppress(OSError), (PROC / str(pid) / "maps").open("rb") as file:
        text = file.read(_LIMIT)
        return text[: text.rfind(b"\n") + 1]
    return b""


def parse(text: bytes) -> tuple[Mapping, ...]:
    """The mappings with code, in the order of their addresses."""
    found: list[Mapping] = []
    for line in text.splitlines():
        span, modes, offset, device, inode, *path = line.split(None, 5)
        if modes[2:3] == b"x" and len(found) < _RANGES:
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


def vdso() -> bytes:
    """The kernel's code that is mapped into every 64-bit process, an ELF file in memory; empty if there is
    none."""
    with contextlib.suppress(OSError, StopIteration):
        own = next(mapping for mapping in parse(read(os.getpid())) if mapping.path == VDSO)
        with Path("/proc/self/mem").open("rb", buffering=0) as memory:
            return os.pread(memory.fileno(), own.end - own.start, own.start)
    return b""


def find_file(pid: int, mapping: Mapping) -> Handle | None:
    """The file that is mapped, not whatever bears its name now; None where it is none, or not to be had."""
    root = PROC / str(pid)
    exact = root / "map_files" / f"{mapping.start:x}-{mapping.end:x}"
    for path in (exact, root / "root" / mapping.path.lstrip("/")):
        with contextlib.suppress(OSError):
            handle = Handle(path)
            if handle.is_file and (path is exact or handle.stat.st_ino == mapping.inode):
                return handle
            handle.close()
    return None


class Handle:
    """A path looked up, but not opened: what is no file would do something, or wait. A context manager."""

    def __init__(self, path: Path, flags: int = 0) -> None:
        """Raises OSError where there is nothing."""
        self._fd = os.open(path, os.O_PATH | os.O_CLOEXEC | flags)
        self.stat = os.fstat(self._fd)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.stat.st_mode)

    def open(self) -> int:
        """A descriptor to read it by. Raises OSError."""
        return os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
