"""The functions of a program that Go made, from its table of program counters and lines (.gopclntab).

The runtime needs it, so that it is there although the symbols were taken out (-ldflags=-s). Each release that
changed its layout has a number of its own; all that is read here is where functions begin and what they are
called (Go's src/runtime/symtab.go and src/debug/gosym/pclntab.go describe it). The file may be anybody's.
"""

from __future__ import annotations

import sys

from pytracer.arrays import Array, np
from pytracer.record import record
from pytracer.symbols.elf_tables import EXECUTABLE, TABLE_LIMIT, ElfError, Tables

_SECTIONS = (b".gopclntab", b".data.rel.ro.gopclntab")
_GO_1_2, _GO_1_16, _GO_1_18, _GO_1_20 = 0xFFFFFFFB, 0xFFFFFFFA, 0xFFFFFFF0, 0xFFFFFFF1
# The numbers of the words behind the head that say where names, and where functions, begin in the table.
_PLACES = {_GO_1_16: (2, 6), _GO_1_18: (3, 7), _GO_1_20: (3, 7)}
_TEXT_START = 2  # the word that has the address of the first function, since Go 1.18
_HEAD = 8  # magic, two zeros, the quantum of instructions, bytes of a pointer
_CGO = b"runtime/cgo."
_RELATIVE = {62: 8, 183: 1027, 243: 3}  # R_*_RELATIVE by e_machine


@record
class GoFunctions:
    """Functions by address, arrays of shape (n,): ``names`` are places in ``strings``, which ends with two
    NULs, ``sizes`` reach to the next. Type arguments are left out: ``main.F[...]``. ``with_c``: C was linked
    to it, whose functions are not among them."""

    strings: bytes
    names: Array
    starts: Array
    sizes: Array
    with_c: bool


def read(file: Tables) -> GoFunctions | None:
    """Read the functions of a Go program; None if it is none, or its layout is unknown.

    Charged while it is read. Raises ElfError, OverBudgetError, OSError.
    """
    section = next((candidate for name in _SECTIONS if (candidate := file.section(name)) is not None), None)
    if section is None:
        return None
    if int(section["size"]) > TABLE_LIMIT:
        raise ElfError("a table is too large to be true")
    with file.account.reserved(memory=2 * int(section["size"])):
        return _Table(file, file.content(section), int(section["addr"])).functions()


class _Table:
    """The bytes of a table, each read of which is checked."""

    def __init__(self, file: Tables, data: bytes, address: int) -> None:
        self._file, self._data, self._address = file, data, address
        self._word = data[7] if len(data) > _HEAD else 0

    def functions(self) -> GoFunctions | None:
        """Return all functions; None if the layout is unknown."""
        data = self._data
        magic = int.from_bytes(data[:4], sys.byteorder)
        if self._word != (8 if self._file.width == 2 else 4) or data[4:6] != b"\0\0":
            return None
        if magic == _GO_1_2:
            return self._read(0, _HEAD + self._word, 0, self._word, 0)
        if magic not in _PLACES:
            return None
        names, code = (self._number(field) for field in _PLACES[magic])
        if magic == _GO_1_16:
            return self._read(names, code, code, self._word, 0)
        return self._read(names, code, code, 4, self._text_start())

    def _number(self, field: int) -> int:
        """Read a word behind the header. Raises ElfError."""
        offset = _HEAD + field * self._word
        if offset + self._word > len(self._data):
            raise ElfError("the table of Go functions is cut short")
        return int.from_bytes(self._data[offset : offset + self._word], sys.byteorder)

    def _text_start(self) -> int:
        """Return the address of the first function; where the program can be loaded anywhere, of a
        relocation."""
        text_start = self._number(_TEXT_START)
        if text_start:
            return text_start
        section, kind = self._file.section(b".rela.dyn"), _RELATIVE.get(self._file.machine)
        if section is not None and kind is not None and self._word == 8:
            if int(section["size"]) > TABLE_LIMIT:
                raise ElfError("a table is too large to be true")
            raw = self._file.content(section)
            entries = np.frombuffer(
                raw[: len(raw) // 24 * 24], [("at", "u8"), ("info", "u8"), ("addend", "i8")]
            )
            of_field = entries["at"] == self._address + _HEAD + _TEXT_START * self._word
            for entry in entries[of_field & (entries["info"] == kind)]:
                return max(int(entry["addend"]), 0)
        return 0

    def _read(self, names: int, table: int, base: int, size: int, start: int) -> GoFunctions | None:
        """Return the functions of a table of pairs, each of ``size`` bytes: where one begins (counted from
        ``start``), and where it is described (from ``base``). There its beginning is again, and behind that
        where its name is, counted from ``names``."""
        data, count = self._data, self._number(0)
        entry_limit = max(len(data) - table - size, 0) // (2 * size)
        if not 0 < count <= entry_limit or names > len(data):
            raise ElfError("the table of Go functions is cut short")
        with self._file.account.reserved(entries=count, memory=40 * count):
            unsigned = np.dtype(f"u{size}")
            pairs = np.frombuffer(data, unsigned, 2 * count + 1, table).astype(np.uint64)
            starts, func_offsets = pairs[::2] + np.uint64(start), pairs[1::2]
            if (np.diff(starts.astype(np.float64)) < 0).any():
                raise ElfError("the table of Go functions is in no order")
            strings = b"\0" + data[names:] + b"\0\0"  # 0 is no name
            func_names = self._numbers_at(func_offsets, base + size)
            is_valid = (func_names >= 0) & (func_names < len(strings) - 3)
            is_valid &= np.diff(starts) > 0
            is_valid &= self._is_code(starts[:-1])
            text = np.frombuffer(strings, np.uint8)
            is_valid[is_valid] &= text[func_names[is_valid] + 1] != 0
            name_offsets = func_names[is_valid] + 1
            return (
                GoFunctions(
                    strings, name_offsets, starts[:-1][is_valid], np.diff(starts)[is_valid], _CGO in strings
                )
                if len(name_offsets)
                else None
            )

    def _numbers_at(self, places: Array, base: int) -> Array:
        """Return the 32-bit numbers at places in the table (counted from ``base``), -1 where it ends
        before."""
        inside = (
            places <= np.uint64(max(len(self._data) - base - 4, 0)) if len(self._data) >= base + 4 else None
        )
        numbers = np.full(len(places), -1, np.int64)
        if inside is not None:
            offsets = places[inside].astype(np.int64) + base
            raw = np.frombuffer(self._data, np.uint8)[offsets[:, None] + np.arange(4)]
            numbers[inside] = raw.astype(np.uint8).copy().view(np.int32).ravel()
        return numbers

    def _is_code(self, addresses: Array) -> Array:
        """Return which addresses are in the file's code: booleans."""
        are_code = np.zeros(len(addresses), bool)
        for segment in self._file.loaded(EXECUTABLE):
            first = np.uint64(int(segment["vaddr"]))
            are_code |= (addresses >= first) & (addresses - first < np.uint64(int(segment["filesz"])))
        return are_code
