"""Run Python code in a process that prints a line once it is ready."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def python_process(code: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run code until the block is left. Yields the process once it has printed an empty line."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            yield process
        finally:
            process.kill()
