"""Capture what C libraries write to standard error: clang's diagnostics, and LLVM's fatal errors."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

_shared = -1


class CapturedOutput:
    """The captured text, complete once the ``with`` block has ended."""

    text = ""


def share(descriptor: int) -> None:
    """Capture into this file from now on, which another process reads: LLVM ends the process after some
    errors."""
    global _shared
    _shared = descriptor


@contextlib.contextmanager
def capture_stderr() -> Iterator[CapturedOutput]:
    """Redirect file descriptor 2 into memory for the length of the block."""
    result = CapturedOutput()
    sys.stderr.flush()
    saved = os.dup(2)
    memory = os.memfd_create("stderr") if _shared < 0 else os.dup(_shared)
    begin = os.lseek(memory, 0, os.SEEK_END)
    try:
        os.dup2(memory, 2)
        yield result
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        result.text = _read_written(memory, begin)
        os.close(memory)


def _read_written(memory: int, begin: int = 0) -> str:
    size = os.lseek(memory, 0, os.SEEK_END) - begin
    return os.pread(memory, size, begin).decode(errors="replace")
