"""The format of BTF: the kinds of types, the lengths of their records, and the sections.

``pytracer.kernel.btf`` is the way to read it.
"""

from __future__ import annotations

import struct
import sys
from enum import IntEnum
from typing import NamedTuple

from pytracer.errors import HeadersError


class BtfKind(IntEnum):
    """The kind of a type (BTF_KIND_*)."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


# 32-bit words of a record: the fixed part (name, info, size or type, and what the kind adds) and, for each
# of the ``vlen`` things the record lists, so many more.
_FIXED = {
    BtfKind.INT: 4,
    BtfKind.PTR: 3,
    BtfKind.ARRAY: 6,
    BtfKind.STRUCT: 3,
    BtfKind.UNION: 3,
    BtfKind.ENUM: 3,
    BtfKind.FWD: 3,
    BtfKind.TYPEDEF: 3,
    BtfKind.VOLATILE: 3,
    BtfKind.CONST: 3,
    BtfKind.RESTRICT: 3,
    BtfKind.FUNC: 3,
    BtfKind.FUNC_PROTO: 3,
    BtfKind.VAR: 4,
    BtfKind.DATASEC: 3,
    BtfKind.FLOAT: 3,
    BtfKind.DECL_TAG: 4,
    BtfKind.TYPE_TAG: 3,
    BtfKind.ENUM64: 3,
}
_EACH = {
    BtfKind.STRUCT: 3,
    BtfKind.UNION: 3,
    BtfKind.ENUM: 2,
    BtfKind.FUNC_PROTO: 2,
    BtfKind.DATASEC: 3,
    BtfKind.ENUM64: 3,
}

_MAGIC = 0xEB9F
# The unused bits of ``info`` are zero today; newer formats widen both fields into them.
KIND_SHIFT, KIND_MASK, VLEN_MASK, FLAG = 24, 0x7F, 0xFFFFFF, 0x80000000


class IntInfo(NamedTuple):
    """An integer: ``size`` in bytes, ``bits`` in use from bit ``offset``, and how to read them."""

    size: int
    bits: int
    offset: int
    signed: bool
    char: bool
    boolean: bool


class BtfMember(NamedTuple):
    """A member: name ("" if it has none), type id, offset in bits, width in bits (0: no bit-field)."""

    name: str
    type: int
    bit_offset: int
    bits: int


class BtfArray(NamedTuple):
    """An array of ``length`` elements of type id ``element`` (0: its length is not part of the type)."""

    element: int
    length: int


class Proto(NamedTuple):
    """A function's type: the id it returns, its (name, type id) parameters, and if more may follow."""

    returns: int
    params: tuple[tuple[str, int], ...]
    variadic: bool


class Steps(dict[int, int]):
    """Words in a record, by its ``info`` word; worked out the first time each value is met."""

    def __missing__(self, info: int) -> int:
        number = info >> KIND_SHIFT & KIND_MASK
        if number not in _FIXED:
            raise HeadersError(f"BTF holds a type of a kind not known here ({number})")
        kind = BtfKind(number)
        self[info] = words = _FIXED[kind] + _EACH.get(kind, 0) * (info & VLEN_MASK)
        return words


def sections(data: bytes, origin: str) -> tuple[memoryview, bytes]:
    """Return the type section as 32-bit words, and the string section. Raises HeadersError for damaged
    BTF."""
    if len(data) < 24:
        raise HeadersError(f"{origin} is cut short: {len(data)} bytes hold no BTF header")
    if int.from_bytes(data[:2], sys.byteorder) != _MAGIC:
        other = "little" if sys.byteorder == "big" else "big"
        if int.from_bytes(data[:2], other) == _MAGIC:  # type: ignore[arg-type]
            raise HeadersError(f"{origin} is BTF of the other byte order ({other}-endian)")
        raise HeadersError(f"{origin} is not BTF")
    if data[2] != 1:
        raise HeadersError(f"{origin} is BTF of version {data[2]}; only version 1 is known here")
    header, type_at, type_size, name_at, name_size = struct.unpack_from("=5I", data, 4)
    types, names = header + type_at, header + name_at
    if header < 24 or type_size % 4 or types + type_size > len(data) or names + name_size > len(data):
        raise HeadersError(f"{origin} is cut short: its header promises more than there is")
    strings = data[names : names + name_size]
    if not strings or strings[0] or strings[-1]:
        raise HeadersError(f"{origin} is damaged: its names are not NUL-terminated")
    return memoryview(data)[types : types + type_size].cast("I"), strings
