"""Find the code of a line of source, by the line tables of debug information (DWARF)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pytracer.symbols.dwarf import open_dwarf
from pytracer.symbols.dwarf_entries import DebugEntries
from pytracer.symbols.elf_tables import Tables

_INDEXED_FROM_0 = 5  # versions of DWARF before it number files from 1 on


def addresses_of_line(tables: Tables, source: str, line: int) -> list[int]:
    """Return the lowest address of a line's code in each compile unit that has some.

    ``source`` is the name of a file, or the end of its path. Raises OverBudgetError.
    """
    entries, found = DebugEntries(tables.account), set[int]()
    with open_dwarf(tables) as info:
        for unit in info.iter_CUs() if info is not None else ():
            entries.spend()
            addresses = list[int]()
            # pyelftools raises whatever comes of damage
            with contextlib.suppress(ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
                addresses = list(_iter_addresses(info.line_program_for_CU(unit), entries, source, line))
            found |= {min(addresses)} if addresses else set()
    return sorted(found)


def _iter_addresses(program: Any, entries: DebugEntries, source: str, line: int) -> Iterator[int]:
    """Yield the addresses at which a statement of a line begins."""
    if program is None:
        return
    base = 0 if program.header.version >= _INDEXED_FROM_0 else 1
    files = {
        number + base
        for number, file in enumerate(program.header.file_entry)
        if _is_called(file.name.decode("utf-8", "surrogateescape"), source)
    }
    if not files:
        return
    rows = program.get_entries()
    entries.skim(len(rows))
    for row in rows:
        state = row.state
        if state is None or state.end_sequence or not state.is_stmt:
            continue
        if state.line == line and state.file in files:
            yield state.address


def _is_called(path: str, source: str) -> bool:
    return path == source or source.endswith(f"/{path}") or path.endswith(f"/{source}")
