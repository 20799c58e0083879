"""Catching what a C library writes to standard error (clang's diagnostics, the verifier's log)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


class Captured:
    """What was written; complete once the ``with`` block is left."""

    text = ""


_others = -1


def share(descriptor: int) -> None:
    """From now on, have what is captured written to this file, which another process may read: some
    of LLVM's complaints are the last that it lets this process do."""
    global _others
    _others = descriptor


@contextlib.contextmanager
def captured_stderr() -> Iterator[Captured]:
    """Send file descriptor 2 into memory for the length of the block."""
    result = Captured()
    sys.stderr.flush()
    saved = os.dup(2)
    memory = os.memfd_create("stderr") if _others < 0 else os.dup(_others)
    begin = os.lseek(memory, 0, os.SEEK_END)
    try:
        os.dup2(memory, 2)
        yield result
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        size = os.lseek(memory, 0, os.SEEK_END) - begin
        result.text = os.pread(memory, size, begin).decode(errors="replace")
        os.close(memory)
