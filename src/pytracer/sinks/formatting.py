"""Format values for people: numbers with units, durations, times."""

from __future__ import annotations

import functools
import unicodedata
from typing import Any

from pytracer.arrays import Array, np
from pytracer.model import Coded
from pytracer.model.text_columns import column_texts
from pytracer.spec import Column, Unit
from pytracer.text import harmless

_STEPS = (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000))


def duration(nanoseconds: int) -> str:
    """Format a time with three significant digits or more: ``231 ns``, ``1.234 us``, ``12.345 s``."""
    for unit, size in _STEPS:
        if nanoseconds >= size - size // 2_000_000:  # 999.9999 ms is 1.000 s, not 1000.000 ms
            return f"{nanoseconds / size:.3f} {unit}"
    return f"{nanoseconds} ns"


def format_bound(value: int, unit: Unit) -> str:
    """Format a bound of a bucket, short: powers of two of nanoseconds are no round microseconds."""
    if unit is not Unit.NANOSECONDS:
        return str(value)
    number, _, name = duration(value).partition(" ")
    return f"{float(number):.4g} {name}"


def cell(value: Any, column: Column) -> str:
    """Format a value for a table; null is a dash, a tuple its first value and the number of others."""
    if isinstance(value, tuple):
        count_text = f" +{len(value) - 1}" if len(value) > 1 else ""
        return cell(value[0], column) + count_text if value else "-"
    if value is None:
        return "-"
    if isinstance(value, str):
        return harmless(value)
    if column.unit is Unit.NANOSECONDS:
        return duration(int(value))
    return str(value)


def cells(values: Array | Coded, column: Column) -> list[str]:
    """Return a column of a batch as a table shows it; each distinct name is formatted once."""
    return column_texts(values, functools.partial(cell, column=column), is_plain=is_plain(column))


def is_plain(column: Column) -> bool:
    """Return whether a table shows the numbers of a column by their digits."""
    return column.unit is not Unit.NANOSECONDS


def display_width(text: str) -> int:
    """Return the columns of a terminal that a text takes: a character may take two, an accent on one none."""
    return len(text) if text.isascii() else sum(map(character_width, text))


def character_width(character: str) -> int:
    """Return the columns that a character takes."""
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def align(text: str, width: int) -> str:
    """Pad a text with blanks to this number of columns."""
    return text + " " * (width - display_width(text))


@functools.lru_cache(maxsize=1024)  # in a flood many events bear the same
def timestamp(milliseconds: int) -> str:
    """Format a moment (milliseconds since the epoch) in local time with its offset."""
    from datetime import datetime  # is loaded when the first time is shown

    return datetime.fromtimestamp(milliseconds / 1e3).astimezone().isoformat(timespec="milliseconds")


def timestamps(times: Array) -> list[str]:
    """Format moments (nanoseconds since the epoch, shape (n,)) as ``timestamp`` does, each of them once."""
    moments, codes = np.unique(times // 1_000_000, return_inverse=True)
    texts = [timestamp(moment) for moment in moments.tolist()]
    return list(map(texts.__getitem__, codes.tolist()))


@functools.lru_cache(maxsize=64)
def clock(time: float) -> str:
    """Format a moment (seconds since the epoch) as local ``HH:MM:SS``."""
    from datetime import datetime

    return datetime.fromtimestamp(time).strftime("%H:%M:%S")
