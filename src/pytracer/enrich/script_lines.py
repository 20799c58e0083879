"""Format the events of one printf() together, column by column."""

from __future__ import annotations

from collections.abc import Sequence

from pytracer.arrays import Array, np
from pytracer.enrich.script_values import ValueReader, show_conversion
from pytracer.lang.formats import Conversion
from pytracer.lang.script.types import StringType, stored_size
from pytracer.lang.types import IntType, Type
from pytracer.model.text_columns import column_texts

_DIGITS = {"d": "%d", "i": "%d", "u": "%d", "x": "%x", "X": "%X", "o": "%o"}


def format_lines(
    reader: ValueReader, pieces: Sequence[str | Conversion], kinds: Sequence[Type], data: Array
) -> list[str]:
    """Return the text of each event: ``reader.printf`` of each row of ``data``.

    ``data`` are the values of the events, bytes of shape (n, size): a string at the end may lack its room.
    """
    columns, literal, offset, number = list[list[str]](), "", 0, 0
    for piece in pieces:
        if isinstance(piece, str):
            literal += piece
            continue
        kind = kinds[number]
        columns.append(
            _format_column(reader, piece, kind, data[:, offset : offset + stored_size(kind)], literal)
        )
        literal = ""
        offset += stored_size(kind)
        number += 1
    columns.append([literal] * len(data))
    return list(map("".join, zip(*columns, strict=True)))


def _format_column(
    reader: ValueReader, piece: Conversion, kind: Type, data: Array, literal: str
) -> list[str]:
    """Return the text of one conversion in each event, behind the literal text before it."""
    form = literal.replace("%", "%%")
    is_plain = isinstance(kind, IntType) and not kind.boolean and not piece.how
    if is_plain and piece.sign in _DIGITS:
        numbers = np.ascontiguousarray(data[:, : piece.size]).view(
            f"{'i' if piece.signed else 'u'}{piece.size}"
        )
        return column_texts(numbers.reshape(-1), str, form + _DIGITS[piece.sign])
    raw = np.ascontiguousarray(data).view(f"S{max(data.shape[1], 1)}").reshape(-1).tolist()
    distinct = list(dict.fromkeys(raw))  # NULs at the end are missing
    if isinstance(kind, StringType) and piece.sign == "s" and not piece.how:
        shown = reader.show_strings(distinct, kind.capacity)
    else:
        padded = [value.ljust(stored_size(kind), b"\0") for value in distinct]
        shown = [show_conversion(piece, kind, reader.read(kind, value, 0), value, 0) for value in padded]
    texts = dict(zip(distinct, map(literal.__add__, shown), strict=True))
    return list(map(texts.__getitem__, raw))
