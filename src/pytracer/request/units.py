"""Numbers with units: parse what a user writes, and check what a Python program gives.

Every function raises ValueError with a message that names the value.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime

MILLISECOND = 1_000_000  # nanoseconds
_UNITS = {"ns": 1, "us": 1_000, "ms": MILLISECOND, "s": 1_000_000_000, "": MILLISECOND}
_SHIFTS = {"": 0, "k": 10, "m": 20, "g": 30}
_SECONDS_LIMIT = 1e9
_BUFFER_LIMIT = 1 << 30
_ROWS_LIMIT = 1_000_000  # each row has a value for every CPU, in memory that cannot be swapped


def seconds(value: float | str) -> float:
    """Return a length of time in seconds: more than 0, less than 1e9."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 < number < _SECONDS_LIMIT:
        raise ValueError(f"{value!r} is no length of time in seconds")
    return number


def nanoseconds(value: int | str | datetime.timedelta) -> int:
    """Return a length of time in nanoseconds.

    Takes nanoseconds (int), text with a unit (``"10ms"``; without one it is milliseconds) or a timedelta.
    """
    if isinstance(value, str):
        from decimal import Decimal  # which most starts do without

        match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?)(ns|us|ms|s|)", value, re.ASCII)
        number = round(Decimal(match[1]) * _UNITS[match[2]]) if match else -1
    elif isinstance(value, int):
        number = -1 if isinstance(value, bool) else value
    else:
        from datetime import timedelta

        number = (value // timedelta(microseconds=1)) * 1000 if isinstance(value, timedelta) else -1
    if not 0 <= number < 1 << 63:
        raise ValueError(f"{value!r} is no length of time such as 10ms, 500us or 2s")
    return number


def parse_whole(value: int | str, minimum: int, maximum: int) -> int:
    """Return a whole number from ``minimum`` to ``maximum``."""
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool) or not minimum <= number <= maximum:
        raise ValueError(f"{value!r} is no whole number from {minimum} to {maximum}")
    return number


def positive(value: int | str) -> int:
    """Return a whole number from 1 up."""
    try:
        return parse_whole(value, 1, 1 << 63)
    except ValueError:
        raise ValueError(f"{value!r} is no positive whole number") from None


def row_count(value: int | str) -> int:
    """Return the map capacity for a number of rows."""
    rows = positive(value)
    if rows > _ROWS_LIMIT:
        raise ValueError(f"{value} rows are more than {_ROWS_LIMIT}")
    return rows


def byte_count(value: int | str) -> int:
    """Return a size in bytes, from 1 to 1 GiB. Takes bytes (int) or text such as ``"512k"``, ``"8M"``."""
    size: object = value
    if isinstance(value, str):
        number, unit = (value[:-1], value[-1].lower()) if value[-1:].isalpha() else (value, "")
        size = int(number) << _SHIFTS[unit] if unit in _SHIFTS and number.isdecimal() else None
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= _BUFFER_LIMIT:
        raise ValueError(f"{value!r} is no size between 1 and 1G")
    return size
