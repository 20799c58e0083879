"""The memory maps of processes, as far as they hold code."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

from pytracer.procfs import living, read_stat
from pytracer.record import record
from pytracer.text import from_path

PROC = Path("/proc")
VDSO = "[vdso]"
_OWN_DEVICES = ("overlay", "btrfs", "bcachefs")  # file systems
_WHOLE = (1 << 64) - 1
_PIECE = 1 << 18  # bytes that are read at once
RANGES = 4096  # with code, that are looked at: nobody needs as many
_WITH_CODE = re.compile(rb"^\S+ ..x.*\n", re.M)
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
        """Return the last part of its path, as text."""
        return from_path(self.path.removesuffix(" (deleted)").rpartition("/")[2])

    @property
    def is_anonymous(self) -> bool:
        """True for memory without a file and a name. The kernel shows shared memory (shmem) as /dev/zero."""
        return not self.path or self.path in ("/dev/zero", "/dev/zero (deleted)")

    @property
    def is_generated(self) -> bool:
        """True for code that belongs to no file, but was written to memory by the program itself."""
        return self.is_anonymous or self.path.startswith(("/memfd:", "/SYSV", "[anon"))


def image_of(pid: int) -> int:
    """Return a number that identifies this execution of a program, as ``pt_image`` of
    probes_c/include/stack.h computes it.

    0 if there is no such process, or it may not be inspected.
    """
    try:
        fields = read_stat(living(pid, PROC), PROC)
    except OSError:
        return 0
    start, end, stack = (int(fields[index]) for index in (_START_CODE, _END_CODE, _START_STACK))
    return (start + 3 * end + 5 * stack) & _WHOLE if stack else 0


def started(pid: int) -> float:
    """Return the start time of a process, in seconds since the epoch. Raises OSError if there is none."""
    fields = read_stat(pid, PROC)
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_BEGAN]) / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def read(pid: int, check: Callable[[], None] = lambda: None) -> bytes:
    """Read the lines of /proc/PID/maps with code, at most RANGES; empty if the process is gone or
    unreadable.

    A process may have 65,000 mappings and more. ``check`` is called regularly, and may raise to stop.
    """
    with contextlib.suppress(OSError):
        return read_code(pid, check)
    return b""


def read_code(pid: int, check: Callable[[], None] = lambda: None) -> bytes:
    """Read as :func:`read` does. Raises OSError if the process is gone or unreadable."""
    lines, partial_line = list[bytes](), b""
    with (PROC / str(living(pid, PROC)) / "maps").open("rb") as file:
        while len(lines) < RANGES and (text := file.read(_PIECE)):
            check()
            text = partial_line + text
            end = text.rfind(b"\n") + 1
            partial_line = text[end:]
            lines += _WITH_CODE.findall(text, 0, end)
    return b"".join(lines[:RANGES])


def parse(text: bytes) -> tuple[Mapping, ...]:
    """Parse the mappings with code, in the order of their addresses."""
    mappings: list[Mapping] = []
    for line in text.splitlines():
        span, modes, offset, device, inode, *path = line.split(None, 5)
        if modes[2:3] == b"x":
            start, _, end = span.partition(b"-")
            mappings.append(
                Mapping(
                    int(start, 16),
                    int(end, 16),
                    int(offset, 16),
                    device.decode(),
                    int(inode),
                    os.fsdecode(path[0]) if path else "",
                )
            )
    return tuple(mappings)


def vdso() -> bytes:
    """Return the vDSO, which is mapped into every 64-bit process, as an ELF file; empty if there is none."""
    with contextlib.suppress(OSError, StopIteration):
        own_mapping = next(mapping for mapping in parse(read(os.getpid())) if mapping.path == VDSO)
        with Path("/proc/self/mem").open("rb", buffering=0) as memory:
            return os.pread(memory.fileno(), own_mapping.end - own_mapping.start, own_mapping.start)
    return b""


def find_file(pid: int, mapping: Mapping, *, is_exact: bool = True) -> Handle | None:
    """Find the very file that is mapped, not the one that has its name now; None if it is no file or
    unreachable. If not ``is_exact``, another file may be mapped there by now."""
    root = PROC / str(living(pid, PROC))
    map_file = root / "map_files" / f"{mapping.start:x}-{mapping.end:x}"
    for path in (map_file, root / "root" / mapping.path.lstrip("/")):
        with contextlib.suppress(OSError):
            handle = Handle(path)
            if handle.is_file and ((is_exact and path is map_file) or handle.stat.st_ino == mapping.inode):
                return handle
            handle.close()
    if not is_exact and mapping.path.startswith("/"):  # of a process that has ended
        with contextlib.suppress(OSError):
            handle = Handle(Path(mapping.path))
            device = f"{os.major(handle.stat.st_dev):02x}:{os.minor(handle.stat.st_dev):02x}"
            is_same = handle.stat.st_ino == mapping.inode
            if handle.is_file and is_same and (device == mapping.device or handle.has_own_devices):
                return handle
            handle.close()
    return None


class Handle:
    """A path looked up (O_PATH) but not opened, since opening a device or FIFO may act or block. A context
    manager."""

    def __init__(self, path: Path | int) -> None:
        """Look up ``path``, or own it if it is a descriptor (O_PATH). Raises OSError if there is nothing."""
        self._fd = path if isinstance(path, int) else os.open(path, os.O_PATH | os.O_CLOEXEC)
        self.stat = os.fstat(self._fd)

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """Device, inode, size and time of the last change: a file that was rewritten is another one."""
        return self.stat.st_dev, self.stat.st_ino, self.stat.st_size, self.stat.st_mtime_ns

    @property
    def has_own_devices(self) -> bool:
        """True on a file system whose files have another device by stat(2) than by the kernel's records.

        Overlays record the layer's own file, btrfs the device of the whole file system.
        """
        with contextlib.suppress(OSError, StopIteration, IndexError):
            info = Path(f"/proc/self/fdinfo/{self._fd}").read_text()
            mount = next(line.split()[1] for line in info.splitlines() if line.startswith("mnt_id:"))
            mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
            line = next(line for line in mounts if line.split(" ", 1)[0] == mount)
            return line.rpartition(" - ")[2].split()[0] in _OWN_DEVICES
        return False

    @property
    def is_file(self) -> bool:
        """True for a regular file."""
        return stat.S_ISREG(self.stat.st_mode)

    def open(self) -> int:
        """Open the file for reading, and return a descriptor. Raises OSError."""
        return os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
