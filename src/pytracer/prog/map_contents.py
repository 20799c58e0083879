"""Read the contents of any map, by its BTF types, or as numbers and bytes."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any

from pytracer.arrays import load, np
from pytracer.bpf.obj_info import MapInfo, read_btf
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import PER_CPU, MapType
from pytracer.errors import PytracerError
from pytracer.kernel.btf import ENUMS, Btf, BtfKind
from pytracer.kernel.cpus import possible_cpus
from pytracer.record import record
from pytracer.text import from_bytes

_READABLE = frozenset({
    MapType.HASH, MapType.ARRAY, MapType.PROG_ARRAY, MapType.PERCPU_HASH, MapType.PERCPU_ARRAY,
    MapType.LRU_HASH, MapType.LRU_PERCPU_HASH, MapType.LPM_TRIE, MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS,
})  # fmt: skip
_ARRAYS = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY})
_ROOM = 1 << 28  # bytes: a map that may hold more is not read
_FORMS = {1: "B", 2: "H", 4: "I", 8: "Q"}

Decode = Callable[[bytes], Any]


@record
class MapContents:
    """The number of entries (for arrays, without all-zero ones), and the first of them: keys and values as
    Python objects; per-CPU values are lists. ``reason`` explains an empty result, then ``count`` is None.
    ``zero`` counts the all-zero entries of an array."""

    count: int | None
    entries: tuple[tuple[Any, Any], ...] = ()
    reason: str = ""
    zero: int = 0


def read_contents(descriptor: int, info: MapInfo, limit: int) -> MapContents:
    """Read the map, and decode the first ``limit`` entries. Raises OSError."""
    if info.type not in _READABLE:
        return MapContents(None, reason="the kernel does not show what is in maps of this type")
    per_cpu = info.type in PER_CPU
    cpus = possible_cpus() if per_cpu else 1
    if info.max_entries * (info.key_size + (info.value_size + 7) * cpus) > _ROOM:
        return MapContents(None, reason="it has too much room to be read")
    load()
    types = np.dtype(f"V{info.key_size}"), np.dtype(f"V{info.value_size}")
    keys, values = Map(info.name, descriptor, info.type, info.max_entries, lambda: types).read()
    zero = 0
    if info.type in _ARRAYS:
        size = info.value_size * cpus
        is_used = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), size).any(axis=1)
        zero = len(keys) - int(is_used.sum())
        keys, values = keys[is_used], values[is_used]
    key_of, value_of = decoders(info)

    def shown(value: Any) -> Any:
        return (
            [value_of(value_bytes.tobytes()) for value_bytes in value]
            if per_cpu
            else value_of(value.tobytes())
        )

    first = zip(keys[:limit], values[:limit], strict=True)
    entries = tuple((key_of(key.tobytes()), shown(value)) for key, value in first)
    return MapContents(len(keys), entries, zero=zero)


def decoders(info: MapInfo) -> tuple[Decode, Decode]:
    """Return functions that decode the map's keys and values to Python objects."""
    if info.btf_id and info.btf_value_type:
        try:
            btf = Btf(read_btf(info.btf_id), origin=f"BTF {info.btf_id}")
            key, value = by_type(btf, info.btf_key_type), by_type(btf, info.btf_value_type)
            key(bytes(info.key_size)), value(bytes(info.value_size))  # a type that is no good says so now
        except (OSError, PytracerError, struct.error, IndexError):
            return format_bytes, format_bytes
        return key, value
    return format_bytes, format_bytes


def format_bytes(data: bytes) -> Any:
    """Decode bytes without a type: a number of a usual size, else hexadecimal."""
    if len(data) in _FORMS:
        return int.from_bytes(data, sys.byteorder)
    return data.hex(" ")


def by_type(btf: Btf, type_id: int) -> Decode:
    """Return a function that decodes values of a type: numbers, text (arrays of char), dictionaries (structs
    and unions), lists.

    It raises HeadersError or struct.error if the bytes do not fit the type.
    """

    def decode(data: bytes) -> Any:
        return value(btf, type_id, data)

    return decode if type_id else format_bytes


def value(btf: Btf, type_id: int, data: bytes) -> Any:
    """Decode one value; see ``by_type``."""
    type_id = btf.resolve(type_id)
    match btf.kind(type_id):
        case BtfKind.INT:
            integer = btf.integer(type_id)
            number = int.from_bytes(data[: integer.size], sys.byteorder, signed=integer.signed)
            return bool(number) if integer.boolean else number
        case BtfKind.ENUM | BtfKind.ENUM64:
            is_signed = btf.enum_signed(type_id)
            number = int.from_bytes(data[: btf.size_of(type_id)], sys.byteorder, signed=is_signed)
            return _name_enumerator(btf, type_id, number)
        case BtfKind.ARRAY:
            return _read_array(btf, type_id, data)
        case BtfKind.STRUCT | BtfKind.UNION:
            return {
                member.name: _read_member(btf, member.type, member.bit_offset, member.bits, data)
                for member in btf.walk(type_id)
            }
        case BtfKind.FLOAT:
            return struct.unpack("f" if btf.size_of(type_id) == 4 else "d", data[: btf.size_of(type_id)])[0]
        case _:
            return format_bytes(data[: btf.size_of(type_id)])


def _name_enumerator(btf: Btf, type_id: int, number: int) -> str | int:
    """Return the name of an enumeration's value, or the number if it has none."""
    return next((name for name, constant in btf.enumerators(type_id) if constant == number), number)


def _read_array(btf: Btf, type_id: int, data: bytes) -> Any:
    element, length = btf.array(type_id)
    size, kind = btf.size_of(element), btf.resolve(element)
    if size == 1 and btf.kind(kind) is BtfKind.INT and btf.name(kind) == "char":
        return from_bytes(data[:length].partition(b"\0")[0])
    return [value(btf, element, data[index * size : (index + 1) * size]) for index in range(length)]


def _read_member(btf: Btf, type_id: int, offset: int, bits: int, data: bytes) -> Any:
    if not bits:
        return value(btf, type_id, data[offset // 8 : offset // 8 + btf.size_of(type_id)])
    container = int.from_bytes(data[offset // 8 : (offset + bits + 7) // 8], sys.byteorder)
    number = container >> offset % 8 & (1 << bits) - 1  # as little-endian machines lay them out
    kind = btf.resolve(type_id)
    less = number - (1 << bits) if number >> bits - 1 else number
    if btf.kind(kind) in ENUMS:
        is_signed = any(
            constant < 0 for _, constant in btf.enumerators(kind)
        )  # the type's sign is not always known
        return _name_enumerator(btf, kind, less if is_signed else number)
    integer = btf.integer(kind)
    return bool(number) if integer.boolean else less if integer.signed else number
