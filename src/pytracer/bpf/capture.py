"""Catching what a C library writes to standard error (clang's diagnostics, the verifier's log)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


class Captured:
    """What was written; complete once the ``with`` block is left."""

    text = ""


@contextlib.contextmanager
def captured_stderr() -> Iterator[Captured]:
    """Send file descriptor 2 into memory for the length of the block."""
    result = Captured()
    sys.stderr.flush()
    saved = os.dup(2)
    memory = os.memfd_create("stderr")
    try:
        os.dup2(memory, 2)
        yield result
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        size = os.lseek(memory, 0, os.SEEK_END)
        result.text = os.pread(memory, size, 0).decode(errors="replace")
        os.close(memory)
