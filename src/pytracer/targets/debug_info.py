"""Turn the DWARF of a function into BTF: its arguments, its result, and their types.

It has only the types that these reach. So the language has one kind of types, and reads the memory of
programs as it reads the kernel's. The calling convention says in which registers arguments are
(``plan/scopes.py``), not DWARF: at the first instruction they are nowhere else.

The file may be anybody's. Invalid parts of it, or parts too large to read, count as absent.
"""

from __future__ import annotations

from typing import Any

from pytracer.kernel.btf import Btf
from pytracer.kernel.facts import NOT_IN_REGISTER, FunctionTypes
from pytracer.symbols import split
from pytracer.symbols.dwarf import open_dwarf, ranges, units
from pytracer.symbols.dwarf_entries import DebugEntries, constant, find_having, follow_reference
from pytracer.symbols.elf_tables import Tables
from pytracer.symbols.program_files import ProgramFile
from pytracer.targets.dwarf_definitions import C
from pytracer.targets.dwarf_locations import at_entry
from pytracer.targets.dwarf_types import Writer

_COMPOSITES = ("DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type", "DW_TAG_typedef")
_WRAPPING = ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type")
_DEEP = 32  # typedefs of typedefs
_WIDE = 2  # Tables.width of 64-bit files, whose arguments are in registers


def describe(file: ProgramFile, name: str, offset: int) -> FunctionTypes | None:
    """Describe the function whose code begins at a file offset (bytes), as a FUNC with this name.

    None if it has no debug information.
    """
    with file.reading() as tables:
        address = tables.address_of(offset)
        if address is None or tables.width != _WIDE:
            return None
        try:
            with open_dwarf(tables) as info:
                if info is not None:
                    return _read(info, tables, name, address)
        except Exception:  # pyelftools raises whatever comes of a damaged file; OverBudgetError has been said
            return None
        return None


def _read(info: Any, tables: Tables, name: str, address: int) -> FunctionTypes | None:
    entries = DebugEntries(tables.account)
    for unit in units(info, entries, address):
        unit = split.whole(unit, tables)
        function = _find_function(unit.dwarfinfo, entries, unit, address)
        if function is not None:
            return _read_types(unit.dwarfinfo, entries, function, name, address, tables.machine)
    return None


def _read_types(
    info: Any, entries: DebugEntries, function: Any, name: str, address: int, machine: int
) -> FunctionTypes | None:
    parameters = [
        child if child.tag == "DW_TAG_formal_parameter" else None
        for child in entries.children(function)
        if child.tag in ("DW_TAG_formal_parameter", "DW_TAG_unspecified_parameters")
    ]
    says = ("DW_AT_type", "DW_AT_prototyped")
    declared = any(attribute in find_having(function, attribute).attributes for attribute in says)
    if not parameters and not declared:
        return None  # line numbers alone (-g1, assembly), which know no parameters
    writer = Writer(entries)
    writer.function(name, function, parameters)
    places = list(at_entry(info, entries, function, filter(None, parameters), address, machine))
    if constant(function.cu.get_top_DIE(), "DW_AT_language") not in C:
        places = _drop_guesses(function, list(filter(None, parameters)), places)
    return FunctionTypes(Btf(writer.data(), origin="debug information", has_enum_signs=True), tuple(places))


def _drop_guesses(function: Any, parameters: list[Any], places: list[int | None]) -> list[int | None]:
    """Mark the locations that the calling convention does not determine. C++ and others pass types that
    are not trivially copyable by address, so behind a struct C's convention does not hold."""
    certain_registers, unsure = list[int | None](), _is_composite(function)
    for parameter, register in zip(parameters, places, strict=True):
        certain_registers.append(NOT_IN_REGISTER if register is None and unsure else register)
        unsure = unsure or _is_composite(parameter)
    return certain_registers


def _is_composite(entry: Any) -> bool:
    kind = follow_reference(find_having(entry, "DW_AT_type"), "DW_AT_type")
    for _ in range(_DEEP):
        if kind is None or kind.tag not in _WRAPPING:
            break
        kind = follow_reference(kind, "DW_AT_type")
    return kind is not None and kind.tag in _COMPOSITES


def _find_function(info: Any, entries: DebugEntries, unit: Any, address: int) -> Any:
    """Return the DIE of the function that begins at an address; None if the unit has none."""
    left = [unit.get_top_DIE()]
    while left:
        for entry in entries.children(left.pop()):
            if entry.tag == "DW_TAG_namespace":
                left.append(entry)
            elif entry.tag == "DW_TAG_subprogram":
                # Of a function in pieces, the first is where it begins.
                start = next((low for low, _ in ranges(info, entries, entry)), None)
                if start == address:
                    return entry
    return None
