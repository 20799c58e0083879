"""Name positions in the files of a script, as messages of bpftrace do: ``stdin:1:9-62``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from pytracer.errors import ProbeSpecError

Files = Sequence[tuple[int, str]]
"""The offsets at which the files of a script begin in its text, with their names."""


def position_of(text: str, files: Files, start: int, end: int) -> str:
    """Return the file, line and columns of a part of a script."""
    begin, name = next(file for file in reversed(files) if file[0] <= start)
    line = text.count("\n", begin, start)
    first = max(text.rfind("\n", 0, start) + 1, begin)
    return f"{name}:{line + 1}:{start - first + 1}-{end - first + 1}"


def excerpt_of(text: str, start: int, end: int) -> str:
    """Return the line in which a part begins, and below it the marks that point at the part."""
    first = text.rfind("\n", 0, start) + 1
    line = text[first:].partition("\n")[0]
    marks = "~" * max(min(end - first, len(line)) - (start - first), 1)
    return f"{line}\n{' ' * (start - first)}{marks}"


def warning_at(text: str, files: Files, start: int, end: int, message: str) -> str:
    """Return a warning about a part of a script, with its position and line."""
    return f"{position_of(text, files, start, end)}: WARNING: {message}\n{excerpt_of(text, start, end)}"


@contextlib.contextmanager
def with_positions(files: Files) -> Iterator[None]:
    """Give the errors that point into a script their position in its files."""
    try:
        yield
    except ProbeSpecError as error:
        error.place = error.place or position_of(error.text, files, error.start, error.end)
        raise
