"""Structs that one unit of a C program only declares, found where another defines them.

To go through all units would take seconds for a program of some size. The name of a struct stands in its
entry, or in .debug_str: so places that refer to it are searched for as bytes, and read as entries.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from elftools.dwarf.die import DIE

from pytracer.symbols.dwarf_entries import DebugEntries, constant

C = {0x1, 0x2, 0xC, 0x1D, 0x2C, 0x3E}
"""DW_LANG_C89, C, C99, C11, C17, C23: languages in which a struct's name is all of it."""
_CODES = (1, 2, 3)  # bytes that the number of an entry's form takes
_PLACES = 10_000  # that are looked at for a name


class Definitions:
    """Remember by name where structs are defined."""

    def __init__(self, entries: DebugEntries) -> None:
        self._entries = entries
        self._known = dict[tuple[str, bytes], Any]()

    def find(self, declared: Any) -> Any:
        """Find the definition of a declared type; None if there is none, or if several differ.

        Raises OverBudgetError.
        """
        name = declared.attributes.get("DW_AT_name")
        if name is None or not name.value or not _is_c(declared.cu):
            return None
        key = declared.tag, name.value
        if key not in self._known:
            definitions = list(self._all(declared.cu.dwarfinfo, *key))
            forms = {self._form(entry) for entry in definitions}
            self._known[key] = definitions[0] if len(forms) == 1 else None
        return self._known[key]

    def _all(self, info: Any, tag: str, name: bytes) -> Iterator[Any]:
        data = _section_bytes(info.debug_info_sec)
        for number, offset in enumerate(_find_mentions(data, _section_bytes(info.debug_str_sec), name)):
            if number >= _PLACES:
                break
            self._entries.spend()
            unit = _find_unit(info, offset)
            if unit is None or not _is_c(unit):
                continue
            for size in _CODES:
                if _is_definition(unit, offset - size, offset, tag):
                    yield unit.get_DIE_from_refaddr(offset - size)
                    break

    def _form(self, entry: Any) -> tuple[object, ...]:
        members = (child for child in self._entries.children(entry) if child.tag == "DW_TAG_member")
        places = tuple(
            (
                str(member.attributes.get("DW_AT_name") and member.attributes["DW_AT_name"].value),
                _read_member_offset(member),
            )
            for member in members
        )
        return constant(entry, "DW_AT_byte_size"), places


def _find_mentions(data: bytes, strings: bytes, name: bytes) -> Iterator[int]:
    """Find where .debug_info has a name, or refers to it."""
    yield from _find_text(name + b"\0", data)
    for position in _find_text(name + b"\0", strings):
        yield from _find_text(struct.pack("=I", position), data)


def _find_text(text: bytes, data: bytes) -> Iterator[int]:
    position = data.find(text)
    while position >= 0:
        yield position
        position = data.find(text, position + 1)


def _is_definition(unit: Any, offset: int, name_at: int, tag: str) -> bool:
    """Return True if the entry there defines a struct, whose name stands at ``name_at``."""
    if offset < unit.cu_die_offset:
        return False
    try:
        entry = DIE(cu=unit, stream=unit.dwarfinfo.debug_info_sec.stream, offset=offset)
    except Exception:  # whatever else stands there, read as if it were one
        return False
    name = entry.attributes.get("DW_AT_name")
    is_whole = "DW_AT_declaration" not in entry.attributes and "DW_AT_byte_size" in entry.attributes
    return entry.tag == tag and name is not None and name.offset == name_at and is_whole


def _find_unit(info: Any, offset: int) -> Any:
    try:
        return info.get_CU_containing(offset)
    except (KeyError, ValueError):
        return None


def _is_c(unit: Any) -> bool:
    return constant(unit.get_top_DIE(), "DW_AT_language") in C


def _read_member_offset(member: Any) -> object:
    location = member.attributes.get("DW_AT_data_member_location")
    return str(location.value) if location is not None else ""


def _section_bytes(section: Any) -> bytes:
    data: bytes = section.stream.getvalue() if section is not None else b""
    return data
