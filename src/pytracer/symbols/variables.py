"""Find the variables of programs."""

from __future__ import annotations

from pytracer.arrays import np
from pytracer.symbols import elf_tables, symtab
from pytracer.symbols.elf_tables import Tables

_OBJECT = 1  # STT_OBJECT


def find_variable(file: Tables, name: bytes, offset: int) -> tuple[int, int] | None:
    """Find a variable by name: its distance from the code at a file offset, and its size. None if the file
    has none. Raises ElfError, OverBudgetError or OSError."""
    code = file.loaded(elf_tables.EXECUTABLE)
    inside = code[(code["offset"] <= offset) & (offset < code["offset"] + code["filesz"])]
    if not len(inside):
        return None
    address = offset - int(inside[0]["offset"]) + int(inside[0]["vaddr"])
    for symbols, strings, _ in symtab.raw_tables(file):
        is_match = np.isin(symbols["name"], symtab.name_offsets_of(name, strings)) & (symbols["shndx"] != 0)
        variables = symbols[is_match & (symbols["info"] & 0xF == _OBJECT)]
        if len(variables):
            return int(variables[0]["value"]) - address, int(variables[0]["size"])
    return None
