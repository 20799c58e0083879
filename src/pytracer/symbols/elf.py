"""Function symbols of an ELF file: where each begins and ends, and which one an address lies in."""

from __future__ import annotations

from collections.abc import Iterator

from pytracer.arrays import Array, np
from pytracer.budget import Account
from pytracer.record import record
from pytracer.symbols import tables
from pytracer.symbols.tables import NOBITS, TABLE_LIMIT, ElfError, Tables

FUNCTION, IFUNC = 2, 10  # STT_*
SYMTAB, _DYNSYM = 2, 11  # sections
_STRINGS, _SOME = 16, 4096  # strings for each function of a file, and besides
_SYMBOL = {
    1: [("name", "u4"), ("value", "u4"), ("size", "u4"), ("info", "u1"), ("other", "u1"), ("shndx", "u2")],
    2: [("name", "u4"), ("info", "u1"), ("other", "u1"), ("shndx", "u2"), ("value", "u8"), ("size", "u8")],
}


@record
class Functions:
    """Function symbols by address: ``starts`` ascending, ``ends`` exclusive, shape (n,), uint64."""

    starts: Array
    ends: Array
    _names: Array
    _strings: bytes

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def nbytes(self) -> int:
        """How much memory they take."""
        return int(self.starts.nbytes + self.ends.nbytes + self._names.nbytes + len(self._strings))

    def find(self, addresses: Array) -> list[str | None]:
        """The symbol that each address (uint64, as the file numbers them, shape (n,)) lies in."""
        if not len(self.starts):
            return [None] * len(addresses)
        place = np.searchsorted(self.starts, addresses, side="right").astype(np.intp) - 1
        inside = (place >= 0) & (addresses < self.ends[place])
        return [
            tables.name_at(self._strings, int(self._names[at])) if known else None
            for at, known in zip(place.tolist(), inside.tolist(), strict=True)
        ]


@record
class Elf:
    """What is read of a file. ``segments`` are those with code: (offset, bytes, address), shape (n, 3).

    ``whole`` says that the symbols are all there were, not only those for dynamic linking. ``build_id`` is in
    hexadecimal, empty where there is none.
    """

    segments: Array
    functions: Functions
    whole: bool
    build_id: str

    def address_of(self, offsets: Array) -> Array:
        """The addresses, as the file numbers them, of places in the file (uint64, shape (n,)).

        A place outside of all code stays as it is.
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
    file = tables.read(descriptor, account)
    code = file.loaded(tables.EXECUTABLE)
    functions, whole = _functions(file)
    return Elf(
        np.stack([code[name].astype(np.uint64) for name in ("offset", "filesz", "vaddr")], axis=1),
        functions,
        whole,
        file.build_id(),
    )


def symbol_tables(file: Tables) -> Iterator[tuple[Array, bytes, bool]]:
    """The symbols of each table, its strings (ending with two NULs), and whether it is the whole one
    (.symtab), that first; charged while it is in use. Raises ElfError, OverBudgetError, or OSError."""
    for kind in (SYMTAB, _DYNSYM):
        for section in file.sections[file.sections["type"] == kind]:
            link = int(section["link"])
            if link >= len(file.sections) or int(file.sections[link]["type"]) == NOBITS:
                continue
            dtype = np.dtype(_SYMBOL[file.width])
            sizes = int(section["size"]), int(file.sections[link]["size"])
            if max(sizes) > TABLE_LIMIT:
                raise ElfError("a table is too large to be true")
            with file.account.reserved(entries=sizes[0] // dtype.itemsize, memory=sum(sizes)):
                raw = file.content(section)
                symbols = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype)
                yield symbols, file.content(file.sections[link]) + b"\0\0", kind == SYMTAB


def defined_functions(symbols: Array, strings: bytes) -> Array:
    """Which of the symbols are functions of the file itself, and have a name: booleans."""
    kinds = symbols["info"] & 0xF
    kept = ((kinds == FUNCTION) | (kinds == IFUNC)) & (symbols["shndx"] != 0)
    kept &= (symbols["name"] > 0) & (symbols["name"] < len(strings) - 2)
    return np.asarray(kept)


def _functions(file: Tables) -> tuple[Functions, bool]:
    """The functions of .symtab where there is one, else of .dynsym; and whether it was the former."""
    for symbols, strings, whole in symbol_tables(file):
        file.account.check()
        found = _sorted(symbols, strings, whole=whole)
        if len(found):
            file.account.charge(entries=len(found), memory=found.nbytes)
            return found, whole
    none = np.zeros(0, np.uint64)
    return Functions(none, none, none, b""), False


def _sorted(symbols: Array, strings: bytes, *, whole: bool) -> Functions:
    """Defined functions, one an address: of several names the plainest."""
    kept = defined_functions(symbols, strings)
    if not whole:  # between the symbols for linking are functions that are not among them
        kept &= symbols["size"] > 0
    symbols = symbols[kept]
    names = symbols["name"].astype(np.intp)
    text = np.frombuffer(strings, np.uint8)
    first, second = text[names] == ord("_"), text[names + 1] == ord("_")
    binding = np.array([2, 0, 1, 1])[np.minimum(symbols["info"] >> 4, 3)]  # local, global, weak, others
    versioned = _versioned(text, names)
    rank = (symbols["size"] == 0) * 32 + versioned * 16 + first * 4 + (first & second) * 4 + binding
    starts = symbols["value"].astype(np.uint64)
    order = np.lexsort((rank, starts))
    order = order[np.concatenate(([True], np.diff(starts[order]) != 0))] if len(order) else order
    starts, sizes = starts[order], symbols["size"][order].astype(np.uint64)
    # What does not say how long it is (assembly) reaches as far as the next.
    following = np.append(starts[1:], starts[-1:] + np.uint64(1))
    ends = np.where(sizes > 0, starts + sizes, following)
    return Functions(starts, ends, names[order], strings)


def _versioned(text: Array, names: Array) -> Array:
    """Which of the names in a table of strings have a version, as in open@GLIBC_2.2: booleans, shape (n,).

    A table of 128 MB may be nothing but such marks: then nothing has one.
    """
    special = (text == 0) | (text == ord("@"))
    if np.count_nonzero(special) > _STRINGS * (len(names) + _SOME):
        return np.zeros(len(names), bool)
    places = np.flatnonzero(special)  # of a name that has one, it comes before the end
    found: Array = text[places[np.searchsorted(places, names)]] == ord("@")
    return found
