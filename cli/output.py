"""Where output goes: standard output, or a file that is not touched before there is something to write."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
from pathlib import Path
from typing import TextIO

from pytracer.errors import PytracerError, UsageError


def standard_output() -> TextIO:
    """Standard output, for names in whatever letters. Raises PytracerError where it is closed."""
    stream: TextIO | None = sys.stdout
    if stream is None:
        raise PytracerError("standard output is closed", hint="-o FILE")
    if isinstance(stream, io.TextIOWrapper):
        if isinstance(stream.buffer, io.RawIOBase):
            # Without a buffer (python -u, PYTHONUNBUFFERED), what a signal interrupts is cut where it was.
            stream = open(stream.fileno(), "w", encoding=stream.encoding, closefd=False)  # noqa: SIM115
        stream.reconfigure(errors="backslashreplace")  # what this locale cannot write is no reason to stop
    return stream


def drop(stream: TextIO) -> None:
    """Let go of what the file of ``stream`` does not take: the rest, and what waits in it, goes nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, stream.fileno(), inheritable=os.get_inheritable(stream.fileno()))
        os.close(nowhere)


class OutputFile(io.TextIOWrapper):
    """A file that keeps what it held until the first write: what fails before that costs nothing."""

    def __init__(self, name: str) -> None:
        """Open for appending, to see that it can be. Raises UsageError."""
        try:
            super().__init__(Path(name).open("ab"), encoding="utf-8")  # noqa: SIM115 - it is the context manager
        except OSError as error:
            raise UsageError(f"cannot write {name!r}: {error.strerror}") from error
        self._kept = True

    def write(self, text: str, /) -> int:
        """Write, over what was there."""
        if self._kept:
            self._kept = False
            if stat.S_ISREG(os.fstat(self.fileno()).st_mode):
                self.truncate(0)
        return super().write(text)
