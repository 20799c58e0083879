"""Encode protocol buffers: the wire types that timelines use.

A message is a list of fields, each a number (field << 3 | type) and a value; type 0 is a number in groups of
seven bits, type 1 eight bytes, type 2 bytes behind their length.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

_MASK = (1 << 64) - 1
_BYTES = [bytes([value]) for value in range(128)]


def numbers(*fields: tuple[int, int]) -> bytes:
    """Return fields that are numbers."""
    return b"".join(varint(number << 3) + varint(value) for number, value in fields)


def fixed(number: int, value: int) -> bytes:
    """Return a field that is a number of eight bytes."""
    return varint(number << 3 | 1) + (value & _MASK).to_bytes(8, "little")


def field(number: int, content: bytes) -> bytes:
    """Return a field that is a message or bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


@functools.lru_cache(maxsize=2048)  # few names are in most events
def string(number: int, value: str) -> bytes:
    """Encode a field of text; bytes that are not UTF-8 are escaped."""
    return field(number, value.encode("utf-8", "backslashreplace"))


def packed(number: int, values: Iterable[int]) -> bytes:
    """Return a field of several numbers."""
    return field(number, b"".join(map(varint, values)))


def varint(value: int) -> bytes:
    """Encode a number in groups of seven bits, the lowest first; negative numbers as 64 bits."""
    if 0 <= value < 128:
        return _BYTES[value]
    value &= _MASK
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
