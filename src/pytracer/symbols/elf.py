"""Read the function symbols of an ELF file, and find the function of an address."""

from __future__ import annotations

from collections.abc import Callable

from pytracer.arrays import Array, np
from pytracer.budget import Account
from pytracer.record import record
from pytracer.symbols import elf_tables, symtab
from pytracer.symbols.symtab import (
    FUNCTION,
    IFUNC,
    SYMBOL,
    SYMTAB,
    SymbolTable,
    defined_functions,
    symbol_tables,
)

__all__ = [
    "FUNCTION",
    "IFUNC",
    "SYMBOL",
    "SYMTAB",
    "Elf",
    "FunctionTable",
    "defined_functions",
    "read",
    "symbol_tables",
]

_STRINGS, _SOME = 16, 4096  # strings for each function of a file, and besides


@record
class FunctionTable:
    """Function symbols by address: ``starts`` ascending, ``ends`` exclusive, shape (n,), uint64.

    ``outer`` is the index of the one, up to each, that reaches farthest.
    """

    starts: Array
    ends: Array
    outer: Array
    _names: Array
    _strings: bytes

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def nbytes(self) -> int:
        """Memory of the table, in bytes."""
        return int(self.starts.nbytes * 3 + self._names.nbytes + len(self._strings))

    def find(self, addresses: Array) -> list[str | None]:
        """Return the symbol at each address (uint64, as the file numbers them, shape (n,))."""
        rows, inside = self._rows(addresses)
        return [
            elf_tables.name_at(self._strings, int(self._names[row])) if is_inside else None
            for row, is_inside in zip(rows.tolist(), inside.tolist(), strict=True)
        ]

    def offset(self, address: int) -> int | None:
        """Return how far an address is behind the start of its function; None if it is in none."""
        rows, inside = self._rows(np.array([address], dtype=np.uint64))
        return address - int(self.starts[rows[0]]) if inside[0] else None

    def _rows(self, addresses: Array) -> tuple[Array, Array]:
        """Return the row of the function at each address, and whether there is one."""
        if not len(self.starts):
            return np.zeros(len(addresses), np.intp), np.zeros(len(addresses), np.bool_)
        rows = np.searchsorted(self.starts, addresses, side="right").astype(np.intp) - 1
        rows = np.where((rows >= 0) & (addresses >= self.ends[rows]), self.outer[rows], rows)
        inside = (rows >= 0) & (addresses < self.ends[rows])
        return rows, inside


@record
class Elf:
    """The symbols and code segments of a file. ``segments``: (offset, bytes, address), shape (n, 3).

    ``whole`` is true if the symbols are complete (.symtab), not only those for dynamic linking.
    ``build_id`` is in hexadecimal, empty if there is none.
    """

    segments: Array
    functions: FunctionTable
    whole: bool
    build_id: str

    def function_offset(self, offset: int) -> int | None:
        """Return how far the code at a file offset is behind the start of its function."""
        return self.functions.offset(self.to_address(offset))

    def to_address(self, offset: int) -> int:
        """Translate one file offset; see ``address_of``."""
        return int(self.address_of(np.array([offset], dtype=np.uint64))[0])

    def address_of(self, offsets: Array) -> Array:
        """Translate file offsets to the addresses that the file numbers them by (uint64, shape (n,)).

        An offset outside of all code stays as it is.
        """
        addresses = offsets.copy()
        for offset, size, address in self.segments.tolist():
            inside = (offsets >= offset) & (offsets < offset + size)
            addresses[inside] = offsets[inside] - np.uint64(offset) + np.uint64(address)
        return addresses


def read(descriptor: int, account: Account | None = None) -> Elf:
    """Read an open file, charged to its owner or to ``account``. Raises ElfError, OverBudgetError, OSError.

    Of the account, ``entries`` and ``nbytes`` of the functions stay charged.
    """
    file = elf_tables.read(descriptor, account)
    code = file.loaded(elf_tables.EXECUTABLE)
    tables = symtab.read(file)
    try:
        functions = _sort(tables)
    finally:
        symtab.release(file, tables)
    if len(functions):
        file.account.charge(entries=len(functions), memory=functions.nbytes)
    return Elf(
        np.stack([code[name].astype(np.uint64) for name in ("offset", "filesz", "vaddr")], axis=1),
        functions,
        any(table.whole for table in tables),
        file.build_id(),
    )


def _sort(tables: list[SymbolTable]) -> FunctionTable:
    """Sort functions by address, and keep the plainest name of each."""
    masks = [_can_be_in_stacks(table) for table in tables]
    if not masks:
        empty = np.zeros(0, np.uint64)
        return FunctionTable(empty, empty, empty, empty, b"")
    strings = b"".join(table.strings for table in tables)
    begin_offsets = np.cumsum([0, *(len(table.strings) for table in tables)])[:-1]

    def collect(part: Callable[[SymbolTable], Array]) -> Array:
        return np.concatenate([part(table)[mask] for table, mask in zip(tables, masks, strict=True)])

    names = np.concatenate(
        [
            table.names[selection] + begin
            for table, selection, begin in zip(tables, masks, begin_offsets, strict=True)
        ]
    ).astype(np.intp)
    starts, sizes = collect(lambda table: table.starts), collect(lambda table: table.sizes)
    limits, kinds = collect(lambda table: table.limits), collect(lambda table: table.kinds)
    text = np.frombuffer(strings, np.uint8)
    first, second = text[names] == ord("_"), text[names + 1] == ord("_")
    binding = np.array([2, 0, 1, 1])[np.minimum(collect(lambda table: table.bindings), 3)]
    versioned = _mark_versioned(text, names)
    rank = (kinds == symtab.UNTYPED) * 64 + (sizes == 0) * 32 + versioned * 16
    rank += first * 4 + (first & second) * 4 + binding
    order = np.lexsort((rank, starts))
    order = order[np.concatenate(([True], np.diff(starts[order]) != 0))] if len(order) else order
    order = _drop_inner_labels(order, starts, sizes)
    starts, sizes, limits = starts[order], sizes[order], limits[order]
    # What does not say how long it is (assembly) reaches as far as the next, within its section.
    following = np.append(starts[1:], np.maximum(limits[-1:], starts[-1:] + np.uint64(1)))
    following = np.where(limits > starts, np.minimum(following, limits), following)
    end_addresses = np.where(sizes > 0, starts + sizes, following)
    # Where one ends within another, what is behind it belongs to the other.
    reach = np.maximum.accumulate(end_addresses)
    outer = np.maximum.accumulate(np.where(end_addresses == reach, np.arange(len(end_addresses)), 0)).astype(
        np.intp
    )
    return FunctionTable(starts, end_addresses, outer, names[order], strings)


def _can_be_in_stacks(table: SymbolTable) -> Array:
    """Return which symbols can name an address in a stack, as booleans. Functions that are not exported lie
    between the symbols for dynamic linking, so those count only if they have a size."""
    return np.ones(len(table), bool) if table.whole else table.sizes > 0


def _drop_inner_labels(order: Array, starts: Array, sizes: Array) -> Array:
    """Drop symbols without a size inside symbols with one: they are labels, such as the top of a loop."""
    begin_addresses, length = starts[order], sizes[order]
    reach = np.maximum.accumulate(np.where(length > 0, begin_addresses + length, np.uint64(0)))
    inner = (length == 0) & (reach > begin_addresses)
    return np.asarray(order[~inner])


def _mark_versioned(text: Array, names: Array) -> Array:
    """Return which names in a string table have a version, as in open@GLIBC_2.2: booleans, shape (n,).

    A hostile table of 128 MB may contain nothing but ``@``: then no name counts as versioned.
    """
    special = (text == 0) | (text == ord("@"))
    if np.count_nonzero(special) > _STRINGS * (len(names) + _SOME):
        return np.zeros(len(names), bool)
    places = np.flatnonzero(special)  # of a name that has one, it comes before the end
    are_versioned: Array = text[places[np.searchsorted(places, names)]] == ord("@")
    return are_versioned
