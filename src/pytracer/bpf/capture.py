"""Catching what a C library writes to standard error: clang's diagnostics, and LLVM's last words."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

_shared = -1


class Captured:
    """What was written; complete once the ``with`` block is left."""

    text = ""


def share(descriptor: int) -> None:
    """From now on, have what is captured written to this file, which another process reads: of some programs
    LLVM says what is wrong, and ends the process."""
    global _shared
    _shared = descriptor


@contextlib.contextmanager
def captured_stderr(last_words: Callable[[str], str] | None = None) -> Iterator[Captured]:
    """Send file descriptor 2 into memory for the length of the block.

    Should the process end within it, ``last_words`` is given what was written, and what it makes of that is
    written to the real one, by a process that is there for nothing else.
    """
    result = Captured()
    sys.stderr.flush()
    saved = os.dup(2)
    memory = os.memfd_create("stderr") if _shared < 0 else os.dup(_shared)
    begin = os.lseek(memory, 0, os.SEEK_END)
    witness = _Witness(memory, saved, last_words) if last_words and _shared < 0 else None
    try:
        os.dup2(memory, 2)
        yield result
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        if witness is not None:
            witness.dismiss()
        os.close(saved)
        result.text = _written(memory, begin)
        os.close(memory)


def _written(memory: int, begin: int = 0) -> str:
    size = os.lseek(memory, 0, os.SEEK_END) - begin
    return os.pread(memory, size, begin).decode(errors="replace")


class _Witness:
    """A process that learns of our end by that of a pipe."""

    def __init__(self, memory: int, real: int, last_words: Callable[[str], str]) -> None:
        ours, self._end = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            try:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
                os.close(self._end)
                if not os.read(ours, 1):
                    os.write(real, last_words(_written(memory)).encode())
            finally:
                os._exit(0)
        os.close(ours)

    def dismiss(self) -> None:
        """It is not needed any more."""
        os.write(self._end, b".")
        os.close(self._end)
        os.waitpid(self._pid, 0)
