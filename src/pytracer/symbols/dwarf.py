"""Read a file's debug information (DWARF), wherever it is stored; find the compile unit of an address.

The file may be anybody's. Debug information that is broken or too large is treated as missing.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from elftools.elf.elffile import ELFFile

from pytracer.symbols import debug, split
from pytracer.symbols.dwarf_entries import DebugEntries, name_of, resolve_signatures
from pytracer.symbols.elf_tables import ElfError, Tables, content

_LIMIT = 1 << 28  # bytes of debug information, unpacked: it is read into memory
_RANGES_LIMIT = 1 << 22  # bytes of the table of ranges; with more, units are gone through
_READ = re.compile(rb"\.(debug_|gnu_debug|eh_frame)")  # sections
_OLD = re.compile(rb"\.zdebug_")  # packed in the way before ELF had one, which nobody does any more
_PACKED = 1 << 11  # SHF_COMPRESSED
_UNPACKED_SIZE = struct.Struct("=8xQ8x")  # Elf64_Chdr


@contextlib.contextmanager
def open_dwarf(tables: Tables) -> Iterator[Any]:
    """Open the debug information of a file (a DWARFInfo), which may be in another file; None if there is
    none."""
    with _open_with_debug_information(tables) as file:
        if file is None:
            yield None
            return
        info = _read(file)
        with debug.open_shared_file(file) as shared:
            if shared is not None and _has(shared):
                info.supplementary_dwarfinfo = _read(shared)
        yield info


def unit_names(tables: Tables, addresses: Iterable[int]) -> dict[int, str]:
    """Return the compile unit for each address, as the path that the compiler was given, if it is known."""
    names = dict[int, str]()
    with (
        contextlib.suppress(Exception),
        open_dwarf(tables) as info,
    ):  # pyelftools raises whatever comes of damage
        entries = DebugEntries(tables.account)
        for address in addresses if info is not None else ():
            for unit in units(info, entries, address):
                names[address] = name_of(split.whole(unit, tables).get_top_DIE())
                break
    return names


@contextlib.contextmanager
def _open_with_debug_information(tables: Tables) -> Iterator[Tables | None]:
    """Yield the file with debug information: this file, or its debug file; else None."""
    if _has(tables):
        yield tables
        return
    with debug.open_debug_file(tables) as other:
        yield other if other is not None and _has(other) else None


def _read(file: Tables) -> Any:
    with open(os.dup(file.descriptor), "rb") as stream:
        info = ELFFile(stream).get_dwarf_info(follow_links=False)  # its sections are in memory now
    resolve_signatures(info, file.account)
    _read_ranges_once(info)
    return info


def _has(tables: Tables) -> bool:
    """Return whether a file has debug information, of a version and size that can be read."""
    if tables.section(b".debug_info") is None:
        return False
    total = 0
    with contextlib.suppress(ElfError, OSError):
        for section in tables.sections:
            name, size = int(section["name"]), int(section["size"])
            if _OLD.match(tables.names, name):
                return False
            if _READ.match(tables.names, name):
                if int(section["flags"]) & _PACKED:
                    head = content(tables.descriptor, int(section["offset"]), _UNPACKED_SIZE.size)
                    size = max(size, *_UNPACKED_SIZE.unpack(head))
                total += size
        return total <= _LIMIT
    return False


def units(info: Any, entries: DebugEntries, address: int) -> Iterator[Any]:
    """Yield the compile units that may contain an address, by .debug_aranges if the file has it."""
    listed = find_listed_unit(info, address)
    if listed is not None:
        yield listed
        return
    for unit in info.iter_CUs():
        entries.spend()
        if any(low <= address < high for low, high in ranges(info, entries, unit.get_top_DIE())):
            yield unit


def find_listed_unit(info: Any, address: int) -> Any:
    """Return the compile unit that .debug_aranges has for an address; None if it has none."""
    with contextlib.suppress(Exception):  # it reads no table of DWARF's 64-bit format
        table = info.get_aranges()
        unit_offset = table.cu_offset_at_addr(address) if table is not None else None
        return None if unit_offset is None else info.get_CU_at(unit_offset)
    return None


def _read_ranges_once(info: Any) -> None:
    """Make pyelftools read .debug_aranges once, some 5 us for each of its ranges; none that is too large."""
    section = info.debug_aranges_sec
    is_usable = section is not None and section.size <= _RANGES_LIMIT
    info.get_aranges = functools.cache(info.get_aranges if is_usable else lambda: None)


def ranges(info: Any, entries: DebugEntries, entry: Any) -> Iterator[tuple[int, int]]:
    """Yield the address ranges of an entry, as (begin, end)."""
    low, high = (entry.attributes.get(f"DW_AT_{end}_pc") for end in ("low", "high"))
    if low is not None and high is not None:
        end_address = high.value if high.form.startswith("DW_FORM_addr") else low.value + high.value
        yield low.value, end_address
        return
    pieces = entry.attributes.get("DW_AT_ranges")
    if pieces is None:
        return
    base = entry.cu.get_top_DIE().attributes.get("DW_AT_low_pc")
    base = base.value if base is not None else 0
    range_list = info.range_lists().get_range_list_at_offset(pieces.value, cu=entry.cu)
    entries.skim(len(range_list))
    for piece in range_list:
        if hasattr(piece, "base_address"):
            base = piece.base_address
        else:
            start = 0 if piece.is_absolute else base
            yield start + piece.begin_offset, start + piece.end_offset
