"""Test that the lines of many events at once are those of each event."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pytracer.enrich.script_lines import format_lines
from pytracer.enrich.script_values import ValueReader
from pytracer.lang.formats import parse_format
from pytracer.lang.script.types import BufferType, IntArrayType, StringType, TupleType, stored_size
from pytracer.lang.types import IntType, PointerType, VoidType

S32, U64, BOOL = IntType(4, True), IntType(8, False), IntType(1, False, boolean=True)
ENUM = IntType(4, False, enum="color")
FORMAT = "100%% %d|%5u|%-8s|%x|%s|%s|%c|%#lx|%p|%r|%s|%s|%s"
KINDS = (
    S32,
    U64,
    StringType(16),
    U64,
    BOOL,
    ENUM,
    U64,
    U64,
    PointerType(VoidType()),
    BufferType(5),
    TupleType((S32, StringType(4))),
    IntArrayType(IntType(2, True), 4),
    StringType(32),
)


@pytest.mark.parametrize("string_size", [64, 32])  # of which strings of 32 bytes may have been truncated
def test_lines_are_those_of_each_event(string_size):
    rng = random.Random(1)
    width = sum(map(stored_size, KINDS))
    rows = [bytearray(width) for _ in range(300)]
    for row in rows:
        index = 0
        for kind in KINDS:
            size = stored_size(kind)
            content = rng.choice([b"", b"\0" * size, b"\xff" * size, rng.randbytes(size), b"ab\0cd", b"\x01"])
            row[index : index + size] = content.ljust(size, b"\0")[:size]
            index += size
        row[-32:] = rng.choice([b"%d %s\0stale", b"last\n\x1b", b"x" * 31]).ljust(32, b"\0")
    data = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), width)
    reader = ValueReader((), trailer="..", string_size=string_size, clock=0, enums={"color": {1: "RED"}})
    pieces = parse_format(FORMAT, 0, len(FORMAT), script=True)
    expected = [reader.printf(pieces, KINDS, bytes(row)) for row in rows]
    assert format_lines(reader, pieces, KINDS, data) == expected
    assert len(set(expected)) > 200
    shorter = data[:, : width - 8]  # the room of the last string, whose NULs are not sent
    assert format_lines(reader, pieces, KINDS, shorter[:, :]) == [
        reader.printf(pieces, KINDS, bytes(row[:-8])) for row in rows
    ]
    assert format_lines(reader, ("constant\n",), (), data[:2]) == ["constant\n"] * 2
