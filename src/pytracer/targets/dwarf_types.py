"""DWARF's types written as BTF's: a record for each entry that something leads to."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from pytracer.kernel.btf_format import FLAG, KIND_SHIFT, BtfKind
from pytracer.symbols.dwarf_entries import DebugEntries, constant, find_having, follow_reference, name_of
from pytracer.targets.dwarf_definitions import Definitions

_MOST = 1 << 16  # types that one function leads to
_SIGNED, _BOOLEAN = 1, 4  # BTF_INT_*
_FLOATS = {3, 4, 9, 15, 0x80}  # DW_ATE_complex_float, float, imaginary_float, decimal_float, a vendor's
_SIGNED_ONES, _BOOLEAN_ONE = {5, 6, 13}, 2  # DW_ATE_signed, signed_char, signed_fixed; boolean
_PLUS = 0x23  # DW_OP_plus_uconst
_REFERRING = {
    "DW_TAG_pointer_type": BtfKind.PTR,
    "DW_TAG_reference_type": BtfKind.PTR,
    "DW_TAG_rvalue_reference_type": BtfKind.PTR,
    "DW_TAG_const_type": BtfKind.CONST,
    "DW_TAG_volatile_type": BtfKind.VOLATILE,
    "DW_TAG_restrict_type": BtfKind.RESTRICT,
    "DW_TAG_atomic_type": BtfKind.CONST,
    "DW_TAG_typedef": BtfKind.TYPEDEF,
    "DW_TAG_template_alias": BtfKind.TYPEDEF,
}
_COMPOSITES = {
    "DW_TAG_structure_type": BtfKind.STRUCT,
    "DW_TAG_class_type": BtfKind.STRUCT,
    "DW_TAG_union_type": BtfKind.UNION,
}
_U32 = (1 << 32) - 1
Member = tuple[str, int, int, int]  # name, type, offset and width in bits (0: no bit-field)


class Writer:
    """Writes types in the order in which they are found, each once."""

    def __init__(self, entries: DebugEntries) -> None:
        """Start without types; reading is charged to ``entries``."""
        self._entries = entries
        self._definitions = Definitions(entries)
        self._strings = bytearray(b"\0")
        self._names: dict[str, int] = {"": 0}
        self._records = list[bytes]()
        self._numbers: dict[tuple[int, bool, int], int] = {}
        self._left = deque[tuple[int, Any]]()

    def data(self) -> bytes:
        """Return all types as a blob of BTF."""
        types = b"".join(self._records)
        head = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self._strings))
        return head + types + bytes(self._strings)

    def function(self, name: str, entry: Any, parameters: Sequence[Any]) -> None:
        """Write a function with this name, and all types that it refers to; None in ``parameters`` means
        ``...``.

        Raises OverBudgetError, or ValueError if it refers to too many types.
        """
        words = list[int]()
        for parameter in parameters:
            words += (0, 0) if parameter is None else (self._name(parameter), self._target(parameter))
        proto = self._write(BtfKind.FUNC_PROTO, 0, self._target(entry), *words, count=len(words) // 2)
        self._write(BtfKind.FUNC, self._string(name), proto)
        while self._left:
            number, function_entry = self._left.popleft()
            self._records[number - 1] = self._record(function_entry)

    def _number(self, entry: Any) -> int:
        """Return a type's number; the type is written later, so that it may refer to itself."""
        if entry is None:
            return 0
        entry = follow_reference(entry, "DW_AT_signature") or entry  # it stands in .debug_types
        if "DW_AT_declaration" in entry.attributes and entry.tag in _COMPOSITES:
            entry = self._definitions.find(entry) or entry
        # In .debug_types or .debug_info, of this file or of one that several share.
        key = id(entry.cu.dwarfinfo), hasattr(entry.cu, "tu_offset"), entry.offset
        if key not in self._numbers:
            if len(self._records) >= _MOST:
                raise ValueError("too many types")
            self._records.append(b"")
            self._numbers[key] = len(self._records)
            self._left.append((len(self._records), entry))
        return self._numbers[key]

    def _target(self, entry: Any) -> int:
        return self._number(follow_reference(find_having(entry, "DW_AT_type"), "DW_AT_type"))

    def _name(self, entry: Any) -> int:
        return self._string(name_of(find_having(entry, "DW_AT_name")))

    def _string(self, text: str) -> int:
        if text not in self._names:
            self._names[text] = len(self._strings)
            self._strings += text.encode("utf-8", "replace").replace(b"\0", b"") + b"\0"
        return self._names[text]

    def _write(self, kind: BtfKind, name: int, last: int, *words: int, count: int = 0) -> int:
        """Write a record at once. Returns its number."""
        self._records.append(_pack_type(kind, name, last, *words, count=count))
        return len(self._records)

    def _record(self, entry: Any) -> bytes:
        """Return a type's record; void for types that C cannot express."""
        tag, name = entry.tag, self._name(entry)
        if tag == "DW_TAG_base_type":
            return _make_base(entry, name)
        if tag in _REFERRING:
            kind = _REFERRING[tag]
            return _pack_type(kind, name if kind is BtfKind.TYPEDEF else 0, self._target(entry))
        if tag in _COMPOSITES:
            return self._composite(entry, _COMPOSITES[tag], name)
        if tag == "DW_TAG_enumeration_type":
            return self._enum(entry, name)
        if tag == "DW_TAG_array_type":
            return self._array(entry)
        if tag == "DW_TAG_subroutine_type":
            return _pack_type(BtfKind.FUNC_PROTO, 0, self._target(entry))
        return _pack_type(BtfKind.TYPEDEF, name or self._string("(unknown)"), 0)

    def _composite(self, entry: Any, kind: BtfKind, name: int) -> bytes:
        if "DW_AT_declaration" in entry.attributes:
            return _pack_type(BtfKind.FWD, name, 0, flag=kind is BtfKind.UNION)
        members = list(self._members(entry))
        fields = any(bits for *_, bits in members)
        words = list[int]()
        for text, number, offset, bits in members:
            if fields and offset >> 24:  # there is no place for more
                continue
            words += (self._string(text), number, offset | bits << 24 if fields else offset)
        size = constant(entry, "DW_AT_byte_size") or 0
        return _pack_type(kind, name, size, *words, count=len(words) // 3, flag=fields)

    def _members(self, entry: Any) -> Iterator[Member]:
        """Return the members that are in the object itself; a base class is a member without a name."""
        for child in self._entries.children(entry):
            inherited = child.tag == "DW_TAG_inheritance"
            if not inherited and (child.tag != "DW_TAG_member" or "DW_AT_external" in child.attributes):
                continue
            member_offset = _read_offset(child)
            if member_offset is None:
                continue  # it is computed at run time
            offset = 8 * member_offset
            bits = constant(child, "DW_AT_bit_size") or 0
            if bits:
                offset += _read_bit_offset(child, bits)
            yield "" if inherited else name_of(child), self._target(child), offset, bits

    def _enum(self, entry: Any, name: int) -> bytes:
        enumerators = [
            (name_of(child), value)
            for child in self._entries.children(entry)
            if child.tag == "DW_TAG_enumerator"
            and (value := constant(child, "DW_AT_const_value")) is not None
        ]
        size = constant(entry, "DW_AT_byte_size") or 4
        kind = follow_reference(entry, "DW_AT_type")
        encoding = constant(kind, "DW_AT_encoding") if kind is not None else None
        is_signed = encoding in _SIGNED_ONES or any(value < 0 for _, value in enumerators)
        words = list[int]()
        for text, value in enumerators:
            words += (self._string(text), value & _U32, *([value >> 32 & _U32] if size == 8 else []))
        return _pack_type(
            BtfKind.ENUM64 if size == 8 else BtfKind.ENUM,
            name,
            size,
            *words,
            count=len(enumerators),
            flag=is_signed,
        )

    def _array(self, entry: Any) -> bytes:
        """Return an array type; further dimensions become arrays of arrays."""
        lengths = [
            _read_length(child)
            for child in self._entries.children(entry)
            if child.tag == "DW_TAG_subrange_type"
        ]
        number = self._target(entry)
        for length in reversed(lengths[1:]):
            number = self._write(BtfKind.ARRAY, 0, 0, number, 0, length)
        return _pack_type(BtfKind.ARRAY, 0, 0, number, 0, lengths[0] if lengths else 0)


def _pack_type(kind: BtfKind, name: int, last: int, *words: int, count: int = 0, flag: bool = False) -> bytes:
    info = kind << KIND_SHIFT | count | (FLAG if flag else 0)
    return struct.pack(f"={3 + len(words)}I", name, info, last, *words)


def _make_base(entry: Any, name: int) -> bytes:
    size, encoding = constant(entry, "DW_AT_byte_size") or 0, constant(entry, "DW_AT_encoding") or 0
    if encoding in _FLOATS:
        return _pack_type(BtfKind.FLOAT, name, size)
    encoding_flags = _SIGNED if encoding in _SIGNED_ONES else _BOOLEAN if encoding == _BOOLEAN_ONE else 0
    return _pack_type(BtfKind.INT, name, size, encoding_flags << 24 | (8 * size) & 0xFF)


def _read_length(entry: Any) -> int:
    """Return the number of elements in one dimension, 0 if it is not part of the type."""
    count, last = constant(entry, "DW_AT_count"), constant(entry, "DW_AT_upper_bound")
    length = count if count is not None else -1 if last is None else last + 1
    return length if 0 <= length <= _U32 else 0


def _read_offset(member: Any) -> int | None:
    """Return the offset of a member in bytes; None if it is computed at run time."""
    location = member.attributes.get("DW_AT_data_member_location")
    if location is None or isinstance(location.value, int):
        return location.value if location is not None else 0
    if location.value[:1] != [_PLUS]:  # as DWARF 2 had it
        return None
    return int(sum((byte & 0x7F) << 7 * index for index, byte in enumerate(location.value[1:])))


def _read_bit_offset(member: Any, bits: int) -> int:
    """Return the offset of a bit-field in its storage; before DWARF 4 it was counted from the other end."""
    new = constant(member, "DW_AT_data_bit_offset")
    if new is not None:
        return new
    old = constant(member, "DW_AT_bit_offset") or 0
    storage = constant(member, "DW_AT_byte_size")
    if storage is None:
        kind = follow_reference(member, "DW_AT_type")
        storage = (constant(kind, "DW_AT_byte_size") if kind is not None else None) or 4
    return 8 * storage - old - bits
