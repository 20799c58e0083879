"""Read and decode the tables of CPython's code objects that have the line of each instruction.

Three forms: ``co_lnotab`` (3.9), ``co_linetable`` of PEP 626 (3.10), and of PEP 657 (from 3.11 on).
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from typing import Any

_SIZE_LIMIT = 256 << 10  # bytes of a table; a longer one is not read
_HEADER = 32  # of a bytes object; its size is at 16
_SIZE = 16
_LEAD = 8  # words of a table's begin that the kernel has compared
_NO_LINE_310 = -128
_MORE, _ENTRY = 0x40, 0x80  # bits of a byte: the number goes on, an entry begins
_LONG, _NO_COLUMNS, _NO_LINE, _ONE_LINE = 14, 13, 15, 10  # kinds of entries

_Row = tuple[int, int | None]
"""The offset in bytes at which a line's instructions begin, and the line; None if they have none."""


class LineTable:
    """The table of a code object of Python 3.``minor`` whose first line is ``first``."""

    def __init__(self, data: bytes, minor: int, first: int) -> None:
        """Keep the table; it is decoded when a line is looked up."""
        self.data, self._minor, self._first = data, minor, first

    @cached_property
    def _rows(self) -> tuple[list[int], list[int | None]]:
        decode = _lnotab if self._minor < 10 else _pairs if self._minor == 10 else _locations
        rows = list(decode(self.data, self._first))
        return [start for start, _ in rows], [line for _, line in rows]

    def find(self, offset: int) -> int | None:
        """Return the line of the instruction at an offset in bytes; None if it has none."""
        starts, lines = self._rows
        index = bisect_right(starts, offset) - 1
        return lines[index] if index >= 0 else None


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _lnotab(data: bytes, line: int) -> Iterator[_Row]:
    start = 0
    for step, lines in zip(data[::2], data[1::2], strict=False):
        if step:
            yield start, line
            start += step
        line += _signed(lines)
    yield start, line


def _pairs(data: bytes, line: int) -> Iterator[_Row]:
    start = 0
    for step, byte in zip(data[::2], data[1::2], strict=False):
        lines = _signed(byte)
        if lines != _NO_LINE_310:
            line += lines
        if step:
            yield start, None if lines == _NO_LINE_310 else line
        start += step
    yield start, None


def _locations(data: bytes, line: int) -> Iterator[_Row]:
    start = position = 0
    while position < len(data) and data[position] & _ENTRY:
        kind, units = data[position] >> 3 & 15, (data[position] & 7) + 1
        position += 1
        if kind in (_LONG, _NO_COLUMNS):
            lines = _read_signed(data, position)
            if lines is None:
                break
            line += lines
        elif _ONE_LINE <= kind < _NO_COLUMNS:
            line += kind - _ONE_LINE
        yield start, None if kind == _NO_LINE else line
        start += 2 * units
        while position < len(data) and not data[position] & _ENTRY:
            position += 1
    yield start, None


def _read_signed(data: bytes, position: int) -> int | None:
    """Return a number whose lowest bit is the sign; None if it does not end, or has more than 32 bits."""
    number = 0
    for shift, byte in zip(range(0, 36, 6), data[position : position + 6], strict=False):
        number |= (byte & 0x3F) << shift
        if not byte & _MORE:
            return -(number >> 1) if number & 1 else number >> 1
    return None


def read_line_table(function: Any, room: int) -> LineTable | None:
    """Read the table of a function, an element of the map ``python_names``, from its process; None if that
    has ended, has another code object there by now, or the table has more than ``room`` bytes."""
    table = function["table"]
    start, size, address = (int(table[name]) for name in ("code_start", "code_size", "address"))
    code, lead = table["words"].tobytes()[:size], table["text"].tobytes()
    length = int.from_bytes(lead[:8], "little")
    if not address or not 0 < length <= min(_SIZE_LIMIT, room):
        return None
    try:
        with open(f"/proc/{int(function['pid'])}/mem", "rb", buffering=0) as memory:
            descriptor = memory.fileno()
            if os.pread(descriptor, size, start) != code:
                return None
            held = os.pread(descriptor, _HEADER - _SIZE + length, address + _SIZE)
            if os.pread(descriptor, size, start) != code:
                return None
    except (OSError, OverflowError):
        return None
    data = held[_HEADER - _SIZE :]
    is_same = held[:8] == lead[:8] and data[: 8 * _LEAD] == lead[16:][: min(length, 8 * _LEAD)]
    if len(data) < length or not is_same:
        return None
    return LineTable(data, int(table["minor"]), int(function["line"]))
