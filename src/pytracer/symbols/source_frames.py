"""Find the lines of source, and the inlined functions, that code at an address is from (DWARF)."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import os
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from pytracer.record import record
from pytracer.symbols import split
from pytracer.symbols.dwarf import find_listed_unit, open_dwarf, ranges
from pytracer.symbols.dwarf_entries import DebugEntries, constant, find_having, name_of
from pytracer.symbols.elf_tables import NAME_LIMIT, Tables
from pytracer.text import from_bytes

_INDEXED_FROM_0 = 5  # versions of DWARF before it number files from 1 on
_INLINED = "DW_TAG_inlined_subroutine"
_OUTER = ("DW_TAG_namespace",)
_CODE = ("DW_TAG_lexical_block", "DW_TAG_try_block", "DW_TAG_catch_block", _INLINED)
UNNAMED = "[unnamed]"
_UNIT_ENTRIES = 1 << 18  # a second's work, of those that are looked at for functions
_DEEP = 64  # functions that are inlined into each other


@record
class SourceFrame:
    """A place in the source. ``function`` is the name of an inlined function; "" for the function that the
    code belongs to. ``path`` is "" if the place is not known."""

    function: str
    path: str
    line: int


class SourceFile:
    """The debug information of a file, kept for several addresses. It may be anybody's: what is broken or too
    large counts as missing."""

    def __init__(self, tables: Tables) -> None:
        """Read the debug information, if there is any. Raises OverBudgetError, ElfError, OSError."""
        self._tables = tables
        self._entries = DebugEntries(tables.account)
        self._units: list[tuple[int, int, Any]] | None = None
        self._functions = dict[int, list[tuple[int, int, Any]]]()
        self._inlined = dict[tuple[int, int], list[tuple[int, int, Any]]]()
        self._rows = dict[int, tuple[list[int], list[tuple[int, int]]]]()
        with open_dwarf(tables) as info:
            self._info = info

    def frames(self, address: int) -> tuple[SourceFrame, ...]:
        """Return the places that the code at an address is from, the innermost function first; none if they
        are not known."""
        with contextlib.suppress(Exception):  # pyelftools raises whatever comes of damage; OverBudgetError
            unit = self._unit(address)  # has been said
            return () if unit is None else self._in_unit(unit, address)
        return ()

    def inlined(self, address: int) -> tuple[str, ...]:
        """Return the functions that the code at an address was inlined from, the innermost first, by their
        mangled names if they have those; none if there are none, or they are not known."""
        with contextlib.suppress(Exception):  # as above
            unit = self._unit(address)
            if unit is not None:
                return tuple(_symbol_of(call)[:NAME_LIMIT] for call in reversed(self._calls(unit, address)))
        return ()

    def _unit(self, address: int) -> Any:
        """Return the compile unit of an address; None if there is none."""
        if self._info is None:
            return None
        unit = find_listed_unit(self._info, address)
        if unit is None:
            if self._units is None:
                self._units = []
                self._units = sorted(self._iter_units(), key=itemgetter(0, 1))
            unit = _find_range(self._units, address)
        return unit

    def _iter_units(self) -> Iterator[tuple[int, int, Any]]:
        for unit in self._info.iter_CUs():
            self._entries.spend()
            for low, high in ranges(self._info, self._entries, unit.get_top_DIE()):
                yield low, high, unit

    def _calls(self, unit: Any, address: int) -> list[Any]:
        """Return the entries of the inlined calls at an address, the outermost first."""
        if unit.cu_offset not in self._functions:
            self._functions[unit.cu_offset] = []  # also if it is damaged: once is enough
            top = split.whole(unit, self._tables).get_top_DIE()
            self._functions[unit.cu_offset] = sorted(self._iter_functions(top), key=itemgetter(0, 1))
        function = _find_range(self._functions[unit.cu_offset], address)
        if function is None:
            return []
        key = unit.cu_offset, function.offset
        if key not in self._inlined:
            self._inlined[key] = []
            self._inlined[key] = list(self._iter_inlined(function))
        return [call for low, high, call in self._inlined[key] if low <= address < high][:_DEEP]

    def _iter_functions(self, top: Any) -> Iterator[tuple[int, int, Any]]:
        """Yield the ranges of all functions with code in a unit, each with its entry; none of the rest of one
        that is too large."""
        entries = self._entries.walk(top, _OUTER)
        for entry in itertools.islice(entries, _UNIT_ENTRIES):
            if entry.tag == "DW_TAG_subprogram":
                for low, high in ranges(entry.cu.dwarfinfo, self._entries, entry):
                    yield low, high, entry

    def _iter_inlined(self, function: Any) -> Iterator[tuple[int, int, Any]]:
        """Yield the ranges of all inlined calls in a function, each with its entry, outer ones first."""
        for entry in self._entries.walk(function, _CODE):
            if entry.tag == _INLINED:
                self._entries.spend()
                for low, high in ranges(entry.cu.dwarfinfo, self._entries, entry):
                    yield low, high, entry

    def _in_unit(self, unit: Any, address: int) -> tuple[SourceFrame, ...]:
        file, line = self._row(unit, address)
        paths = _paths(self._info, unit)
        frames = list[SourceFrame]()
        for call in reversed(self._calls(unit, address)):
            frames.append(SourceFrame(name_of(find_having(call, "DW_AT_name")), paths.get(file, ""), line))
            file, line = constant(call, "DW_AT_call_file") or 0, constant(call, "DW_AT_call_line") or 0
        return (*frames, SourceFrame("", paths.get(file, ""), line))

    def _row(self, unit: Any, address: int) -> tuple[int, int]:
        """Return the file and line of an address; 0, 0 if the line table has none."""
        if unit.cu_offset not in self._rows:
            self._rows[unit.cu_offset] = self._read_rows(unit)
        addresses, places = self._rows[unit.cu_offset]
        index = bisect.bisect_right(addresses, address) - 1
        return places[index] if index >= 0 else (0, 0)

    def _read_rows(self, unit: Any) -> tuple[list[int], list[tuple[int, int]]]:
        program = self._info.line_program_for_CU(unit)
        entries = program.get_entries() if program is not None else ()
        self._entries.skim(len(entries))
        states = [row.state for row in entries if row.state is not None]
        ends = [number for number, state in enumerate(states) if state.end_sequence]
        sequences = [states[begin:end] for begin, end in zip([0, *(n + 1 for n in ends)], ends, strict=False)]
        rows = list[tuple[int, tuple[int, int]]]()
        for sequence, end in zip(sequences, ends, strict=True):
            rows += [(state.address, (state.file, state.line)) for state in sequence]
            rows.append((states[end].address, (0, 0)))
        # Of two rows at an address the later one counts; an end does not hide the begin of what follows.
        rows.sort(key=lambda row: (row[0], row[1] != (0, 0)))
        return [address for address, _ in rows], [place for _, place in rows]


def _find_range(entries: list[tuple[int, int, Any]], address: int) -> Any:
    """Return what a sorted list of ranges has at an address; None if it has nothing there."""
    index = bisect.bisect_right(entries, address, key=itemgetter(0)) - 1
    return entries[index][2] if index >= 0 and address < entries[index][1] else None


def _symbol_of(call: Any) -> str:
    """Return the name for the linker of the function that is inlined, else its name in the source."""
    for attribute in ("DW_AT_linkage_name", "DW_AT_name"):
        value = find_having(call, attribute).attributes.get(attribute)
        if value is not None:
            return from_bytes(value.value)
    return UNNAMED


def _paths(info: Any, unit: Any) -> dict[int, str]:
    """Return the paths of a unit's files by number."""
    program = info.line_program_for_CU(unit)
    if program is None:
        return {}
    header = program.header
    folder_of_unit = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
    working = folder_of_unit.value if folder_of_unit is not None else b""
    is_new = header.version >= _INDEXED_FROM_0
    folders = [*([] if is_new else [b""]), *header.include_directory]
    return {
        number + (not is_new): os.fsdecode(os.path.join(working, folders[file.dir_index], file.name))  # noqa: PTH118 - bytes
        for number, file in enumerate(header.file_entry)
        if file.dir_index < len(folders)
    }
