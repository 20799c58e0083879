"""Run processes with names that are not text."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

HOSTILE = b"a\xff\\)\n"
_SCRIPT = f"import ctypes; ctypes.CDLL(None).prctl(15, {HOSTILE!r}, 0, 0, 0); print(flush=True); input()"


@contextlib.contextmanager
def hostile_process(descriptors: Sequence[int] = ()) -> Iterator[int]:
    """Run a process whose name is not UTF-8 and contains a newline. Yields its id."""
    with subprocess.Popen(
        [sys.executable, "-c", _SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=descriptors,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        yield process.pid
        process.kill()
