"""Read the unwind tables of files, with what is needed to apply them where the files are mapped."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pytracer.arrays import Array, np
from pytracer.budget import Account, current
from pytracer.record import record
from pytracer.symbols import elf_tables, memory_maps
from pytracer.symbols.elf_tables import EXECUTABLE
from pytracer.symbols.python import Interpreter, find_interpreter
from pytracer.symbols.unwind.table import RowCache, build

_PAGE = 4096


@record
class CodeSegments:
    """The code of a file. ``base`` is the address that rows count from; ``segments`` are offset, size, and
    address of those with code, int64 of shape (n, 3); ``interpreter`` is Python's, if the file has it."""

    base: int
    segments: Array
    interpreter: Interpreter | None = None

    def row_start(self, offset: int) -> int | None:
        """Return the ``start`` that a row for the code at a file offset has; None if no code is there."""
        for begin, size, address in self.segments.tolist():
            if begin - begin % _PAGE <= offset < begin + size:  # mappings begin at a page
                return int(offset - begin + address - self.base)
        return None

    def iter_parts(self) -> Iterator[tuple[int, int]]:
        """Yield the offsets at which mappings of the code begin, each with the ``start`` of a row there."""
        for begin, _, address in self.segments.tolist():
            offset = begin - begin % _PAGE
            yield offset, offset - begin + address - self.base


def read_table(
    descriptor: int, account: Account, cache: RowCache | None = None
) -> tuple[CodeSegments, Array]:
    """Read the table of an open file. Returns where its code is, and the rows (ROW, shape (n,)).

    Raises ElfError, OverBudgetError, OSError. The memory of the rows stays charged.
    """
    file = elf_tables.read(descriptor, account)
    table = build(file, cache)
    segments = file.loaded(EXECUTABLE)
    columns = [segments[name].astype(np.int64) for name in ("offset", "filesz", "vaddr")]
    return CodeSegments(table.base, np.stack(columns, axis=1), find_interpreter(file)), table.rows


def read_vdso_table() -> tuple[CodeSegments, Array]:
    """Read the table of the vDSO. Raises ElfError if there is no vDSO."""
    memory = os.memfd_create("vdso", os.MFD_CLOEXEC)
    try:
        os.write(memory, memory_maps.vdso())
        return read_table(memory, current().account(0, "the vDSO"))
    finally:
        os.close(memory)
