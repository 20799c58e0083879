"""Function symbols of an ELF file: where each begins and ends, and which one an address lies in.

The file may be anybody's: it is read by pread (a mapping of a file that is cut meanwhile would end us), what
it says of its own sizes is checked, and what makes no sense is an ElfError.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from pytracer.arrays import Array, np

_TABLE_LIMIT = 1 << 27  # bytes of one table: a browser's with all its symbols has some 100 MB
_NAME_LIMIT = 4096
_SECTIONS_LIMIT = 1 << 16
# include/uapi/linux/elf.h
_LOAD, _NOTE, _EXECUTABLE = 1, 4, 1
_SYMTAB, _DYNSYM, _NOBITS = 2, 11, 8
_FUNCTION, _IFUNC = 2, 10
_BUILD_ID = 3  # NT_GNU_BUILD_ID
_NATIVE = 1 if sys.byteorder == "little" else 2

# By EI_CLASS, 1 (32-bit) and 2: where the tables are (offset, entry size, entries), and what is in them.
_HEADER = {1: ("u4", 28, 32, 42, 46), 2: ("u8", 32, 40, 54, 58)}
_SEGMENT = {
    1: [("type", "u4"), ("offset", "u4"), ("vaddr", "u4"), ("paddr", "u4"), ("filesz", "u4"), ("memsz", "u4"),
        ("flags", "u4"), ("align", "u4")],
    2: [("type", "u4"), ("flags", "u4"), ("offset", "u8"), ("vaddr", "u8"), ("paddr", "u8"), ("filesz", "u8"),
        ("memsz", "u8"), ("align", "u8")],
}  # fmt: skip
_WORD = {1: "u4", 2: "u8"}
_SYMBOL = {
    1: [("name", "u4"), ("value", "u4"), ("size", "u4"), ("info", "u1"), ("other", "u1"), ("shndx", "u2")],
    2: [("name", "u4"), ("info", "u1"), ("other", "u1"), ("shndx", "u2"), ("value", "u8"), ("size", "u8")],
}


class ElfError(ValueError):
    """Not an ELF file of this machine's byte order, or a broken one."""


@dataclass(frozen=True)
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
            self._name(int(self._names[at])) if known else None
            for at, known in zip(place.tolist(), inside.tolist(), strict=True)
        ]

    def _name(self, offset: int) -> str:
        end = self._strings.find(b"\0", offset, offset + _NAME_LIMIT)
        end = offset + _NAME_LIMIT if end < 0 else end
        return self._strings[offset:end].decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
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


def read(descriptor: int, room: int = _TABLE_LIMIT) -> Elf:
    """Read an open file; of tables, at most ``room`` bytes each. Raises ElfError, or OSError."""
    head = os.pread(descriptor, 64, 0)
    if len(head) < 64 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] != _NATIVE:
        raise ElfError("not an ELF file of this machine's kind")
    width = head[4]
    word, phoff, shoff, phsize, shsize = _HEADER[width]

    def number(kind: str, at: int) -> int:
        return int(np.frombuffer(head, kind, 1, at)[0])

    segments = _table(
        descriptor, number(word, phoff), number("u2", phsize), number("u2", phsize + 2), _SEGMENT[width]
    )
    code = segments[(segments["type"] == _LOAD) & (segments["flags"] & _EXECUTABLE != 0)]
    sections = _table(
        descriptor, number(word, shoff), number("u2", shsize), number("u2", shsize + 2), _section(width)
    )
    functions, whole = _functions(descriptor, sections, width, min(room, _TABLE_LIMIT))
    return Elf(
        np.stack([code[name].astype(np.uint64) for name in ("offset", "filesz", "vaddr")], axis=1),
        functions,
        whole,
        _build_id(descriptor, segments),
    )


def _section(width: int) -> list[tuple[str, str]]:
    word = _WORD[width]
    return [
        ("name", "u4"), ("type", "u4"), ("flags", word), ("addr", word), ("offset", word), ("size", word),
        ("link", "u4"), ("info", "u4"), ("addralign", word), ("entsize", word),
    ]  # fmt: skip


def _table(descriptor: int, offset: int, size: int, count: int, members: list[tuple[str, str]]) -> Array:
    dtype = np.dtype(members)
    if not offset or not count:
        return np.zeros(0, dtype)
    if size != dtype.itemsize:
        raise ElfError("a table of headers has entries of an odd size")
    return np.frombuffer(_bytes(descriptor, offset, size * count), dtype)


def _bytes(descriptor: int, offset: int, size: int, room: int = _TABLE_LIMIT) -> bytes:
    if size > room or offset > 1 << 62:
        raise ElfError("a table is too large to be true")
    parts = []
    while size:
        part = os.pread(descriptor, size, offset)
        if not part:
            raise ElfError("a table ends behind the end of the file")
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return b"".join(parts)


def _functions(descriptor: int, sections: Array, width: int, room: int) -> tuple[Functions, bool]:
    """The functions of .symtab where there is one, else of .dynsym; and whether it was the former."""
    for kind in (_SYMTAB, _DYNSYM):
        for section in sections[sections["type"] == kind]:
            link = int(section["link"])
            if link >= len(sections) or int(sections[link]["type"]) == _NOBITS:
                continue
            dtype = np.dtype(_SYMBOL[width])
            raw = _bytes(descriptor, int(section["offset"]), int(section["size"]), room)
            symbols = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype)
            strings = _bytes(descriptor, int(sections[link]["offset"]), int(sections[link]["size"]), room)
            found = _sorted(symbols, strings + b"\0\0", whole=kind == _SYMTAB)
            if len(found):
                return found, kind == _SYMTAB
    none = np.zeros(0, np.uint64)
    return Functions(none, none, none, b""), False


def _sorted(symbols: Array, strings: bytes, *, whole: bool) -> Functions:
    """Defined functions, one an address: of several names the plainest."""
    kinds = symbols["info"] & 0xF
    kept = ((kinds == _FUNCTION) | (kinds == _IFUNC)) & (symbols["shndx"] != 0)
    kept &= (symbols["name"] > 0) & (symbols["name"] < len(strings) - 2)
    if not whole:  # between the symbols for linking are functions that are not among them
        kept &= symbols["size"] > 0
    symbols = symbols[kept]
    names = symbols["name"].astype(np.intp)
    text = np.frombuffer(strings, np.uint8)
    first, second = text[names] == ord("_"), text[names + 1] == ord("_")
    binding = np.array([2, 0, 1, 1])[np.minimum(symbols["info"] >> 4, 3)]  # local, global, weak, others
    ends, marks = np.flatnonzero(text == 0), np.flatnonzero(text == ord("@"))
    end = ends[np.searchsorted(ends, names)]
    versioned = np.searchsorted(marks, end) > np.searchsorted(marks, names)  # open@GLIBC_2.2
    rank = (symbols["size"] == 0) * 32 + versioned * 16 + first * 4 + (first & second) * 4 + binding
    starts = symbols["value"].astype(np.uint64)
    order = np.lexsort((rank, starts))
    order = order[np.concatenate(([True], np.diff(starts[order]) != 0))] if len(order) else order
    starts, sizes = starts[order], symbols["size"][order].astype(np.uint64)
    # What does not say how long it is (assembly) reaches as far as the next.
    following = np.append(starts[1:], starts[-1:] + np.uint64(1))
    ends = np.where(sizes > 0, starts + sizes, following)
    return Functions(starts, ends, names[order], strings)


def _build_id(descriptor: int, segments: Array) -> str:
    for segment in segments[segments["type"] == _NOTE]:
        size = int(segment["filesz"])
        if not 0 < size <= _SECTIONS_LIMIT:
            continue
        notes = _bytes(descriptor, int(segment["offset"]), size)
        at = 0
        while at + 12 <= len(notes):
            name, data, kind = (int(n) for n in np.frombuffer(notes, "u4", 3, at))
            start = at + 12 + (name + 3) // 4 * 4
            if kind == _BUILD_ID and notes[at + 12 : at + 16] == b"GNU\0" and start + data <= len(notes):
                return notes[start : start + data].hex()
            at = start + (data + 3) // 4 * 4
    return ""
