"""Sparklines: how a number went, in as many characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-=+*#@"


def sparkline(values: Iterable[float | None], width: int, *, ascii_only: bool = False) -> str:
    """Return the last ``width`` values as a line of characters, the greatest the highest. A missing value
    is a space; 0 is lower than any other value."""
    levels = _ASCII if ascii_only else _LEVELS
    last_values: Sequence[float | None] = list(values)[-width:]
    maximum = max((value for value in last_values if value is not None), default=0)
    steps = len(levels) - 1
    marks = [
        " " if value is None else levels[0 if value <= 0 else max(1, round(steps * value / maximum))]
        for value in last_values
    ]
    return "".join(marks).rjust(width)
