"""What debug information (DWARF) says of a function of a program: its arguments, what it returns, and all
types that these lead to, as BTF. Who reads the kernel's types can read a program's then, too.

The file may be anybody's. What is wrong with it, or more than can be gone through, is as if there were none.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from typing import Any

from elftools.elf.elffile import ELFFile

from pytracer.bpf.find.dwarf_places import at_entry
from pytracer.bpf.find.dwarf_types import Writer
from pytracer.bpf.find.entries import Entries, having
from pytracer.budget import OverBudgetError
from pytracer.kernel.btf import Btf
from pytracer.kernel.facts import Described
from pytracer.symbols import debug
from pytracer.symbols.files import ProgramFile
from pytracer.symbols.tables import ElfError, Tables, content

_LIMIT = 1 << 28  # bytes of debug information, unpacked: it is read into memory
_READ = re.compile(rb"\.(debug_|gnu_debug|eh_frame)")  # sections
_OLD = re.compile(rb"\.zdebug_")  # packed in the way before ELF had one, which nobody does any more
_PACKED = 1 << 11  # SHF_COMPRESSED
_UNPACKED_SIZE = struct.Struct("=8xQ8x")  # Elf64_Chdr
_WIDE = 2  # Tables.width of 64-bit files, whose arguments are in registers


def describe(file: ProgramFile, name: str, offset: int) -> Described | None:
    """The function whose code begins at an offset of the file (bytes), a FUNC of this name.

    None where there is no debug information about it.
    """
    with file.reading() as tables:
        address = tables.address_of(offset)
        if address is None or tables.width != _WIDE:
            return None
        with _described(tables) as descriptor:
            if descriptor < 0:
                return None
            try:
                with open(os.dup(descriptor), "rb") as stream:
                    return _read(stream, Entries(tables.account), name, address, tables.machine)
            except OverBudgetError:  # which has been said
                return None
            except Exception:  # pyelftools raises whatever comes of a damaged file
                return None


@contextlib.contextmanager
def _described(tables: Tables) -> Iterator[int]:
    """A descriptor of the file with debug information: this one, or the one that it was put into; else -1."""
    if _has(tables):
        yield tables.descriptor
        return
    with debug.separate(tables.build_id(), tables.account) as other:
        yield other.descriptor if other is not None and _has(other) else -1


def _has(tables: Tables) -> bool:
    """Whether there is debug information, and no more than can be read."""
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


def _read(stream: Any, entries: Entries, name: str, address: int, machine: int) -> Described | None:
    info = ELFFile(stream).get_dwarf_info(follow_links=False)
    for unit in _units(info, entries, address):
        function = _function(info, entries, unit, address)
        if function is not None:
            return _told(info, entries, function, name, address, machine)
    return None


def _told(
    info: Any, entries: Entries, function: Any, name: str, address: int, machine: int
) -> Described | None:
    parameters = [
        child if child.tag == "DW_TAG_formal_parameter" else None
        for child in entries.children(function)
        if child.tag in ("DW_TAG_formal_parameter", "DW_TAG_unspecified_parameters")
    ]
    says = ("DW_AT_type", "DW_AT_prototyped")
    declared = any(attribute in having(function, attribute).attributes for attribute in says)
    if not parameters and not declared:
        return None  # line numbers alone (-g1, assembly), which know no parameters
    writer = Writer(entries)
    writer.function(name, function, parameters)
    places = at_entry(info, entries, function, filter(None, parameters), address, machine)
    return Described(Btf(writer.data(), origin="debug information", told_signs=True), tuple(places))


def _units(info: Any, entries: Entries, address: int) -> Iterator[Any]:
    """The compilation units that code at an address may be of: by the table of them, if there is one."""
    table = info.get_aranges()
    at = table.cu_offset_at_addr(address) if table is not None else None
    if at is not None:
        yield info.get_CU_at(at)
        return
    for unit in info.iter_CUs():
        entries.spend()
        if any(low <= address < high for low, high in _ranges(info, entries, unit.get_top_DIE())):
            yield unit


def _function(info: Any, entries: Entries, unit: Any, address: int) -> Any:
    """The entry of the function that begins there; None where the unit has none."""
    left = [unit.get_top_DIE()]
    while left:
        for entry in entries.children(left.pop()):
            if entry.tag == "DW_TAG_namespace":
                left.append(entry)
            elif entry.tag == "DW_TAG_subprogram":
                # Of a function in pieces, the first is where it begins.
                begins = next((low for low, _ in _ranges(info, entries, entry)), None)
                if begins == address:
                    return entry
    return None


def _ranges(info: Any, entries: Entries, entry: Any) -> Iterator[tuple[int, int]]:
    """Where the code of an entry is, as (begin, end)."""
    low, high = (entry.attributes.get(f"DW_AT_{end}_pc") for end in ("low", "high"))
    if low is not None and high is not None:
        ends = high.value if high.form.startswith("DW_FORM_addr") else low.value + high.value
        yield low.value, ends
        return
    pieces = entry.attributes.get("DW_AT_ranges")
    if pieces is None:
        return
    base = entry.cu.get_top_DIE().attributes.get("DW_AT_low_pc")
    base = base.value if base is not None else 0
    found = info.range_lists().get_range_list_at_offset(pieces.value, cu=entry.cu)
    entries.skim(len(found))
    for piece in found:
        if hasattr(piece, "base_address"):
            base = piece.base_address
        else:
            at = 0 if piece.is_absolute else base
            yield at + piece.begin_offset, at + piece.end_offset
