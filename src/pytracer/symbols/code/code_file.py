"""Read the code of a file: bytes, symbols of functions, call frames, relocations.

Addresses are the file's own, before relocation. Everything is read by pread, and only on demand.
"""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from pytracer.arrays import Array, np
from pytracer.record import record
from pytracer.symbols import elf_tables
from pytracer.symbols.code.call_frames import Frames
from pytracer.symbols.elf_tables import ElfError, Tables
from pytracer.symbols.program_files import ProgramFile
from pytracer.symbols.symtab import DYNSYM, IFUNC, SYMBOL, UNTYPED, SymbolTable, name_offsets_of

X86, X86_64 = 3, 62  # EM_*
_RELRO = 0x6474E552  # PT_GNU_RELRO
_NESTED = 8  # symbols before an address that are looked at: of nested ones, the innermost counts
_RELA, _REL = 4, 9  # SHT_*
_GUESSED = 1 << 16  # bytes of a function that does not say how long it is, among symbols that are not all
_FAR = 1 << 40  # bytes: more than any function has
_ALLOC, _CODE = 2, 4  # SHF_ALLOC, SHF_EXECINSTR
# What the dynamic linker writes into a slot, by the type of its relocation (psABI of x86-64, i386).
_BY_SYMBOL = (1, 6, 7)  # R_X86_64_64 or R_386_32, GLOB_DAT, JUMP_SLOT
_RELATIVE = 8
_IRELATIVE = {X86_64: 37, X86: 42}


@record
class GotSlot:
    """A word that code jumps through. ``symbol`` is the function that the dynamic linker writes there, or
    ``address`` one in the file; with ``is_ifunc`` it chooses the function."""

    symbol: str = ""
    address: int = 0
    is_ifunc: bool = False


class ProgramImage:
    """The code of one file. Raises ElfError and OSError where the file is broken."""

    def __init__(self, file: ProgramFile) -> None:
        self._file = weakref.ref(file)
        self.tables: Tables = file.tables
        self.machine = self.tables.machine
        self.word = 8 if self.tables.width == 2 else 4
        self.frames = Frames(self.tables, self.read)
        self.flows = dict[int, Any]()  # of functions that others jump to, see pytracer.symbols.code.analysis
        self.go_text: tuple[int, int] | None = None  # see pytracer.symbols.code.golang

    @property
    def file(self) -> ProgramFile:
        """The open file."""
        file = self._file()
        assert file is not None
        return file

    @functools.cached_property
    def _segments(self) -> list[tuple[int, int, int, int]]:
        """Of each part that is loaded: its address, its size in the file, its offset, its flags."""
        segments = self.tables.segments[self.tables.segments["type"] == elf_tables.LOAD]
        names = ("vaddr", "filesz", "offset", "flags")
        return [tuple(int(segment[name]) for name in names) for segment in segments]  # type: ignore[misc]

    def read(self, address: int, size: int) -> bytes:
        """Read the bytes loaded at an address; fewer than ``size`` if the file ends before."""
        for start, length, offset, _ in self._segments:
            if start <= address < start + length:
                missing = start + length - address
                return os.pread(self.file.descriptor, min(size, missing), self._at(offset, address - start))
        return b""

    @staticmethod
    def _at(offset: int, distance: int) -> int:
        if offset + distance > 1 << 62:
            raise ElfError("a segment is behind the end of every file")
        return offset + distance

    def end_of_code(self, address: int) -> int:
        """Return the end of the code section or segment that contains an address; 0 if none does."""
        for start, length, _, flags in self._segments:
            if flags & elf_tables.EXECUTABLE and start <= address < start + length:
                index = int(np.searchsorted(self._section_ends, address, side="right"))
                return int(
                    min(start + length, *self._section_ends[index : index + 1].tolist(), start + length)
                )
        return 0

    def is_code(self, address: int) -> bool:
        """Return whether an address is in a section of code, or in a segment of code if there are no
        sections."""
        sections = self.tables.sections
        sections = sections[sections["flags"].astype(np.uint64) & np.uint64(_CODE) != 0]
        starts, sizes = sections["addr"].astype(np.uint64), sections["size"].astype(np.uint64)
        inside = (starts <= address) & (np.uint64(address) - starts < sizes)
        return bool(inside.any()) if len(sections) else self.end_of_code(address) != 0

    @functools.cached_property
    def _section_ends(self) -> Array:
        """End addresses of the code sections, ascending."""
        sections = self.tables.sections
        sections = sections[sections["flags"].astype(np.uint64) & np.uint64(_CODE) != 0]
        return np.sort(sections["addr"].astype(np.uint64) + sections["size"].astype(np.uint64))

    def offset_of(self, address: int) -> int:
        """Return the file offset of the code at an address. Raises ElfError if there is no code."""
        for start, length, offset, flags in self._segments:
            if flags & elf_tables.EXECUTABLE and start <= address < start + length:
                return self._at(offset, address - start)
        raise ElfError(f"there is no code at address {address:#x}")

    def address_of(self, offset: int) -> int:
        """Return the address that code at a file offset is loaded to. Raises ElfError if it is not loaded."""
        for start, length, file_offset, flags in self._segments:
            if flags & elf_tables.EXECUTABLE and file_offset <= offset < file_offset + length:
                return offset - file_offset + start
        raise ElfError(f"no code is loaded from offset {offset:#x}")

    @functools.cached_property
    def symbols(self) -> ImageSymbols:
        """The symbols of functions, including those of a separate debug file."""
        return ImageSymbols(self.file.symbols)

    def extent(self, address: int) -> tuple[int, int]:
        """Return the range of the function that contains an address, by its symbol and its call frame
        entry.

        A function that begins at the address is preferred, and the longer one if two do; otherwise the
        function that begins last. Returns (0, 0) if no function is known.
        """
        limit = self.end_of_code(address)
        if not limit:
            return 0, 0
        frame = self.frames.find(address)
        extents = [self.symbols.extent(address)] + ([(frame.start, frame.end)] if frame is not None else [])
        start, end = max(extents)
        return start, min(end, limit)

    def slot(self, address: int) -> GotSlot | None:
        """Return the target of a jump through the word at an address; None if the word may change."""
        slot = self._slots.get(address)
        if slot is None and self._is_constant(address):
            value = self.pointer(address)
            return GotSlot(address=value) if self.end_of_code(value) else None
        return slot

    def pointer(self, address: int) -> int:
        """Return the address that a word points to when the program starts, as the file numbers it; 0 if
        none."""
        places, values = self._relative
        index = int(np.searchsorted(places, address))
        if index < len(places) and int(places[index]) == address:
            return int(values[index])
        # Nothing relocates it, or RELR does, which adds to what is there.
        return 0 if address in self._slots else int.from_bytes(self.read(address, self.word), "little")

    def _is_constant(self, address: int) -> bool:
        """Return whether only the dynamic linker writes a word."""
        for segment in self.tables.segments:
            kind, flags = int(segment["type"]), int(segment["flags"])
            fixed = kind == _RELRO or (kind == elf_tables.LOAD and not flags & elf_tables.WRITABLE)
            if fixed and 0 <= address - int(segment["vaddr"]) < int(segment["filesz"]):
                return True
        return False

    @functools.cached_property
    def _slots(self) -> dict[int, GotSlot]:
        """By address, the words that the dynamic linker fills in by a symbol, or by asking an IFUNC."""
        slots = dict[int, GotSlot]()
        for section in self._relocations():
            kinds = section.kinds
            is_slot = np.isin(kinds, (*_BY_SYMBOL, _IRELATIVE.get(self.machine, -1)))
            for index in np.flatnonzero(is_slot).tolist():
                address, number = int(section.addresses[index]), int(section.numbers[index])
                if int(kinds[index]) not in _BY_SYMBOL:
                    slots[address] = GotSlot(address=self._addend(section, index), is_ifunc=True)
                elif number < len(section.symbols):
                    name = elf_tables.name_at(section.strings, int(section.symbols[number]["name"]))
                    if name:
                        slots[address] = GotSlot(symbol=name.partition("@")[0])
        return slots

    @functools.cached_property
    def _relative(self) -> tuple[Array, Array]:
        """The words that are relocated with the file: their addresses, ascending, and the addresses that
        they hold."""
        places, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for section in self._relocations():
            is_relative = section.kinds == _RELATIVE
            places.append(section.addresses[is_relative])
            if section.addends is not None:
                values.append(section.addends[is_relative])
            else:
                values.append(
                    np.array(
                        [self._addend(section, index) for index in np.flatnonzero(is_relative).tolist()],
                        np.int64,
                    )
                )
        addresses, value = np.concatenate(places), np.concatenate(values)
        order = np.argsort(addresses, kind="stable")
        return addresses[order], value[order]

    def is_relocated(self, start: int, end: int) -> bool:
        """Return whether the dynamic linker changes anything between two addresses."""
        first, last = np.searchsorted(self._relocated, [start, end])
        return bool(first < last)

    @functools.cached_property
    def _relocated(self) -> Array:
        """The addresses of all words that the dynamic linker changes, ascending."""
        return np.sort(
            np.concatenate(
                [np.zeros(0, np.int64), *(relocations.addresses for relocations in self._relocations())]
            )
        )

    def _addend(self, section: _Relocations, index: int) -> int:
        if section.addends is not None:
            return int(section.addends[index])
        return int.from_bytes(self.read(int(section.addresses[index]), self.word), "little")

    def _linked_symbols(self, link: int) -> tuple[Array, bytes]:
        """Return the symbols that relocations count, and their names."""
        sections = self.tables.sections
        if not 0 < link < len(sections) or int(sections[link]["type"]) != DYNSYM:
            return np.zeros(0, np.dtype(SYMBOL[self.tables.width])), b""
        dtype = np.dtype(SYMBOL[self.tables.width])
        raw = self.tables.content(sections[link])
        names = int(sections[link]["link"])
        strings = self.tables.content(sections[names]) if names < len(sections) else b""
        return np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype), strings + b"\0"

    def _relocations(self) -> Iterator[_Relocations]:
        if self.machine not in _IRELATIVE:
            return
        for section in self.tables.sections:
            self.tables.account.check()
            kind = int(section["type"])
            if kind not in (_RELA, _REL) or not int(section["flags"]) & _ALLOC:
                continue
            word = f"i{self.word}"
            members = [("offset", word), ("info", f"u{self.word}")] + [("addend", word)] * (kind == _RELA)
            dtype = np.dtype(members)
            raw = self.tables.content(section)
            rows = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype)
            info = rows["info"].astype(np.uint64)
            shift, mask = (32, 0xFFFFFFFF) if self.word == 8 else (8, 0xFF)
            symbols, strings = self._linked_symbols(int(section["link"]))
            yield _Relocations(
                rows["offset"].astype(np.int64),
                (info & np.uint64(mask)).astype(np.int64),
                (info >> np.uint64(shift)).astype(np.int64),
                rows["addend"].astype(np.int64) if kind == _RELA else None,
                symbols,
                strings,
            )


@record
class _Relocations:
    """A table of relocations, of ``kinds`` R_*; ``numbers`` count ``symbols``. Without ``addends`` they are
    in the words themselves."""

    addresses: Array
    kinds: Array
    numbers: Array
    addends: Array | None
    symbols: Array
    strings: bytes


class ImageSymbols:
    """Names and address ranges of functions, by their symbols."""

    def __init__(self, tables: Sequence[SymbolTable]) -> None:
        """Merge the symbol tables ``tables`` of one file."""
        self._strings = [table.strings for table in tables]
        empty = [np.zeros(0, np.int64)]
        starts, sizes, names, kinds, limits = (
            np.concatenate([getattr(table, column).astype(np.int64) for table in tables] or empty)
            for column in ("starts", "sizes", "names", "kinds", "limits")
        )
        numbers = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        order = np.lexsort((sizes, starts))
        self.starts, sizes, self._names = starts[order], sizes[order], names[order]
        self._tables, kinds, limits = numbers[order], kinds[order], limits[order]
        self.ifuncs = frozenset(self.starts[kinds == IFUNC].tolist())
        # A label of assembler code is in a function, or begins one: it counts where nothing else does.
        self._typed = np.flatnonzero(kinds != UNTYPED)
        self._labels = np.flatnonzero(kinds == UNTYPED)
        self._typed_starts = self.starts[self._typed]
        self.ends = self.starts + np.clip(sizes, 0, _FAR)
        # What does not say how long it is reaches as far as the next; of those for linking, at most.
        has_symtab = any(table.whole for table in tables)
        for selection, all_starts in ((self._typed, self._typed_starts), (self._labels, self.starts)):
            edges = np.append(np.unique(all_starts), _FAR)
            next_index = np.searchsorted(edges, self.starts[selection], side="right")
            following = edges[np.minimum(next_index, len(edges) - 1)]
            if not has_symtab:
                following = np.minimum(following, self.starts[selection] + _GUESSED)
            end_addresses = np.where(
                limits[selection] > 0, np.minimum(limits[selection], following), following
            )
            self.ends[selection] = np.where(sizes[selection] > 0, self.ends[selection], end_addresses)
        self.guessed = frozenset(() if has_symtab else self.starts[sizes == 0].tolist())

    def extent(self, address: int) -> tuple[int, int]:
        """Return the innermost symbol that contains an address, the longest of its aliases; (0, 0) if none
        does."""
        for selection in (self._typed, self._labels):
            starts = self.starts[selection] if selection is self._labels else self._typed_starts
            index = int(np.searchsorted(starts, address, side="right")) - 1
            for candidate in selection[max(index - _NESTED + 1, 0) : index + 1][::-1].tolist():
                if address < self.ends[candidate]:
                    return int(self.starts[candidate]), int(self.ends[candidate])
        return 0, 0

    def names(self, address: int) -> list[str]:
        """Return the names of the function that begins at an address, without versions."""
        first, last = (int(np.searchsorted(self.starts, address, side=side)) for side in ("left", "right"))
        return [
            elf_tables.name_at(self._strings[int(self._tables[index])], int(self._names[index])).partition(
                "@"
            )[0]
            for index in range(first, min(last, first + 64))
        ]

    def name(self, address: int) -> str:
        """Return the shortest name of the function that begins at an address; "" if it has none."""
        return min(self.names(address), key=lambda candidate: (len(candidate), candidate), default="")

    def addresses(self, name: str) -> list[int]:
        """Return the addresses of the functions with a name, ascending."""
        addresses = set[int]()
        for number, strings in enumerate(self._strings):
            places = name_offsets_of(name.encode(), strings)
            addresses.update(self.starts[(self._tables == number) & np.isin(self._names, places)].tolist())
        return sorted(addresses)

    def is_start(self, address: int) -> bool:
        """Return whether a function's symbol is at an address."""
        index = int(np.searchsorted(self.starts, address))
        return index < len(self.starts) and int(self.starts[index]) == address


_images = weakref.WeakKeyDictionary[ProgramFile, ProgramImage]()


def open_image(file: ProgramFile) -> ProgramImage:
    """Return the code of an open file, cached as long as the file is open."""
    image = _images.get(file)
    if image is None:
        image = _images[file] = ProgramImage(file)
    return image
