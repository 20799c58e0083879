"""Find the lines of source, and the inlined functions, that code at an address is from (DWARF)."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator
from typing import Any

from pytracer.record import record
from pytracer.symbols import split
from pytracer.symbols.dwarf import open_dwarf, ranges, units
from pytracer.symbols.dwarf_entries import DebugEntries, constant, find_having, name_of
from pytracer.symbols.elf_tables import Tables

_INDEXED_FROM_0 = 5  # versions of DWARF before it number files from 1 on
_INLINED = "DW_TAG_inlined_subroutine"
_CODE = ("DW_TAG_subprogram", "DW_TAG_lexical_block", "DW_TAG_try_block", "DW_TAG_catch_block", _INLINED)
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
        self._rows = dict[int, tuple[list[int], list[tuple[int, int]]]]()
        with open_dwarf(tables) as info:
            self._info = info

    def frames(self, address: int) -> tuple[SourceFrame, ...]:
        """Return the places that the code at an address is from, the innermost function first; none if they
        are not known."""
        if self._info is None:
            return ()
        try:
            for unit in units(self._info, self._entries, address):
                return self._in_unit(unit, address)
        except Exception:  # pyelftools raises whatever comes of damage; OverBudgetError has been said
            return ()
        return ()

    def _in_unit(self, unit: Any, address: int) -> tuple[SourceFrame, ...]:
        file, line = self._row(unit, address)
        paths = _paths(self._info, unit)
        calls = list(self._inlined(split.whole(unit, self._tables).get_top_DIE(), address))
        frames = list[SourceFrame]()
        for call in reversed(calls):
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

    def _inlined(self, entry: Any, address: int, depth: int = 0) -> Iterator[Any]:
        """Yield the entries of inlined calls at an address, the outermost first."""
        for child in self._entries.children(entry) if depth < _DEEP else ():
            if child.tag == "DW_TAG_namespace":
                yield from self._inlined(child, address, depth + 1)
            elif child.tag in _CODE and any(
                low <= address < high for low, high in ranges(child.cu.dwarfinfo, self._entries, child)
            ):
                if child.tag == _INLINED:
                    yield child
                yield from self._inlined(child, address, depth + 1)
                return


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
