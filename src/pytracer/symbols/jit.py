"""Functions that programs made while they ran, where they say so: /tmp/perf-PID.map (node --perf-basic-prof,
python -X perf, many others). A line is ``START SIZE NAME``, both numbers in hexadecimal.

The folder is open to all: a file counts only if it is one, and belongs to the user that the process runs as.
"""

from __future__ import annotations

import contextlib
import os
import re

from pytracer.arrays import Array, np
from pytracer.symbols.elf import Functions
from pytracer.symbols.maps import PROC, Handle, started

_LIMIT = 1 << 26  # bytes that are read
_LINE = re.compile(rb"^(?:0x)?([0-9a-fA-F]{1,16}) +(?:0x)?([0-9a-fA-F]{1,8}) +(?=[^ \n])", re.M)


class Made:
    """What one process says of the functions that it made; the file stays open when it has ended."""

    def __init__(self, pid: int) -> None:
        """Open its file, if there is one."""
        self._descriptor = _open(pid)
        self._size = -1
        self._functions = _functions(b"")

    def __bool__(self) -> bool:
        return self._descriptor >= 0

    def find(self, addresses: Array) -> list[str | None]:
        """The function that each address (uint64, shape (n,)) lies in, as far as the file says by now."""
        with contextlib.suppress(OSError):
            size = os.fstat(self._descriptor).st_size
            if size != self._size:
                self._size = size
                self._functions = _functions(_read(self._descriptor))
        return self._functions.find(addresses)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _open(pid: int) -> int:
    """A descriptor of the file of a process, as it is known in its own namespaces; -1 where there is none."""
    root = PROC / str(pid)
    with contextlib.suppress(OSError):
        status = (root / "status").read_text(errors="replace")
        inside = re.search(r"^NSpid:.*?(\d+)$", status, re.M)
        user = re.search(r"^Uid:\s+\d+\s+(\d+)", status, re.M)
        path = root / "root/tmp" / f"perf-{inside[1] if inside else pid}.map"
        with Handle(path, os.O_NOFOLLOW) as handle:
            owned = user is not None and handle.stat.st_uid == int(user[1])
            # One that is older is of another process, which had the number before.
            if handle.is_file and owned and handle.stat.st_mtime >= started(pid) - 1:
                return handle.open()
    return -1


def _read(descriptor: int) -> bytes:
    text = b""
    while len(text) < _LIMIT and (part := os.pread(descriptor, min(1 << 20, _LIMIT - len(text)), len(text))):
        text += part
    return text


def _functions(text: bytes) -> Functions:
    """What a file says; of two functions at one address the later."""
    text = text[: text.rfind(b"\n") + 1]  # the last line may still be written
    lines = [(int(match[1], 16), int(match[2], 16), match.end()) for match in _LINE.finditer(text)]
    found = {start: (start, start + size, name) for start, size, name in lines if start + size < 1 << 64}
    table = np.array(sorted(found.values()), np.uint64).reshape(-1, 3)
    return Functions(table[:, 0], table[:, 1], table[:, 2], text.replace(b"\n", b"\0"))
