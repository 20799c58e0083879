"""The function symbols of a file, from every table that it or its debug file has.

Stacks, probes and types look functions up here alone: what one of them knows, all know.
"""

from __future__ import annotations

import contextlib
import itertools
import struct
from collections.abc import Iterable, Iterator

from pytracer.arrays import Array, np
from pytracer.budget import OverBudgetError
from pytracer.record import record
from pytracer.symbols import debug, elf_tables, pclntab
from pytracer.symbols.elf_tables import NOBITS, TABLE_LIMIT, ElfError, Tables

UNTYPED, FUNCTION, FILE, IFUNC = 0, 2, 4, 10  # STT_*
_DATA = (1, 5, 6)  # STT_OBJECT, STT_COMMON, STT_TLS
SYMTAB, DYNSYM = 2, 11  # sections
_VERSYM, _VERDEF = 0x6FFFFFFF, 0x6FFFFFFD  # SHT_GNU_*
_HIDDEN = 1 << 15  # in an entry of .gnu.version: NAME@VERSION, which is not linked to any more
_BASE = 1  # VER_FLG_BASE: the file itself
_VERSIONS = 1 << 15
_PLACES = 1_000_000  # of one name in a table of strings
_EXECUTABLE = 4  # SHF_EXECINSTR
_RESERVED = 0xFF00  # SHN_LORESERVE
SYMBOL = {
    1: [("name", "u4"), ("value", "u4"), ("size", "u4"), ("info", "u1"), ("other", "u1"), ("shndx", "u2")],
    2: [("name", "u4"), ("info", "u1"), ("other", "u1"), ("shndx", "u2"), ("value", "u8"), ("size", "u8")],
}


@record
class SymbolTable:
    """The functions of one table, arrays of shape (n,).

    ``names`` are places in ``strings``; ``limits`` is where the section of each ends (0: not known),
    ``units`` the name of the file it was compiled from (an offset in ``strings``, 0: unknown), ``versions``
    an index of ``suffixes``, which are ``@@VERSION``, ``@VERSION``, or "". ``whole``: no function was left
    out.
    """

    strings: bytes
    names: Array
    starts: Array
    sizes: Array
    info: Array
    limits: Array
    units: Array
    versions: Array
    suffixes: tuple[str, ...]
    whole: bool

    def __len__(self) -> int:
        return len(self.names)

    @property
    def nbytes(self) -> int:
        """Memory of the table, in bytes."""
        arrays = (self.names, self.starts, self.sizes, self.info, self.limits, self.units, self.versions)
        return len(self.strings) + sum(int(array.nbytes) for array in arrays)

    @property
    def kinds(self) -> Array:
        """``STT_*`` of each: FUNCTION, IFUNC, or UNTYPED (a label of assembler code)."""
        kinds: Array = self.info & 0xF
        return kinds

    @property
    def bindings(self) -> Array:
        """``STB_*`` of each: 0 is local to its unit."""
        bindings: Array = self.info >> 4
        return bindings


def raw_tables(file: Tables) -> Iterator[tuple[Array, bytes, int]]:
    """Yield the symbols of each table, its strings (ending with two NULs), and the number of its section;
    .symtab first. Charged while it is in use. Raises ElfError, OverBudgetError, or OSError."""
    for kind in (SYMTAB, DYNSYM):
        for number in np.flatnonzero(file.sections["type"] == kind).tolist():
            section = file.sections[number]
            link = int(section["link"])
            if link >= len(file.sections) or int(file.sections[link]["type"]) == NOBITS:
                continue
            dtype = np.dtype(SYMBOL[file.width])
            sizes = int(section["size"]), int(file.sections[link]["size"])
            if max(sizes) > TABLE_LIMIT:
                raise ElfError("a table is too large to be true")
            with file.account.reserved(entries=sizes[0] // dtype.itemsize, memory=sum(sizes)):
                raw = file.content(section)
                symbols = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype)
                yield symbols, file.content(file.sections[link]) + b"\0\0", number


def symbol_tables(file: Tables) -> Iterator[tuple[Array, bytes, bool]]:
    """Yield the symbols of each table, its strings, and whether it is .symtab; see :func:`raw_tables`."""
    for symbols, strings, number in raw_tables(file):
        yield symbols, strings, int(file.sections[number]["type"]) == SYMTAB


def defined_functions(symbols: Array, strings: bytes) -> Array:
    """Return which symbols are named functions that are defined in the file: booleans, shape (n,)."""
    kinds = symbols["info"] & 0xF
    are_chosen = ((kinds == FUNCTION) | (kinds == IFUNC)) & (symbols["shndx"] != 0)
    are_chosen &= (symbols["name"] > 0) & (symbols["name"] < len(strings) - 2)
    return np.asarray(are_chosen)


def is_data(file: Tables, name: bytes) -> bool:
    """True if the file has a variable of this name and no function. Raises as :func:`raw_tables`."""
    has_variable = False
    for symbols, strings, _ in raw_tables(file):
        is_match = np.isin(symbols["name"], name_offsets_of(name, strings)) & (symbols["shndx"] != 0)
        kinds = symbols["info"][is_match] & 0xF
        if np.isin(kinds, (FUNCTION, IFUNC)).any():
            return False
        has_variable = has_variable or bool(np.isin(kinds, _DATA).any())
    return has_variable


def read(file: Tables) -> list[SymbolTable]:
    """Read all symbol tables with functions: the file's own, and if it has no .symtab, those of its debug
    file, .gnu_debugdata, or Go's .gopclntab. They stay charged to the file's account until :func:`release`.

    Raises ElfError or OSError if the file itself is broken, and OverBudgetError.
    """
    own_tables = _keep_open(file, _read_file(file))
    if any(table.whole for table in own_tables):
        return own_tables
    for open_other in (debug.open_debug_file, debug.unpack_symbols):
        with contextlib.suppress(ElfError, OSError, OverBudgetError), open_other(file) as other:
            tables = _keep_open(file, _read_file(other) if other is not None else ())
            if any(table.whole for table in tables):
                return [*tables, *own_tables]
            release(file, tables)
    with contextlib.suppress(ElfError, OSError, OverBudgetError):
        return [*_keep_open(file, _read_go(file)), *own_tables]
    return own_tables


def _read_go(file: Tables) -> Iterator[SymbolTable]:
    """Read the functions that Go's runtime knows."""
    table = pclntab.read(file)
    if table is not None:
        zeros = np.zeros(len(table.names), np.int64)
        info = np.full(len(table.names), 1 << 4 | FUNCTION, np.uint8)  # STB_GLOBAL
        yield SymbolTable(
            table.strings,
            table.names,
            table.starts,
            table.sizes,
            info,
            zeros.astype(np.uint64),
            zeros,
            zeros,
            ("",),
            not table.with_c,
        )


def release(file: Tables, tables: Iterable[SymbolTable]) -> None:
    """Release the memory that :func:`read` charged."""
    for table in tables:
        file.account.refund(entries=len(table), memory=table.nbytes)


def _keep_open(file: Tables, own_tables: Iterable[SymbolTable]) -> list[SymbolTable]:
    tables = list[SymbolTable]()
    try:
        for table in own_tables:
            file.account.check()
            if len(table):
                file.account.charge(entries=len(table), memory=table.nbytes)
                tables.append(table)
    except BaseException:
        release(file, tables)
        raise
    return tables


def _read_file(file: Tables) -> Iterator[SymbolTable]:
    for symbols, strings, number in raw_tables(file):
        is_full = int(file.sections[number]["type"]) == SYMTAB
        marks = symbols["info"] & 0xF == FILE
        # Local symbols stand behind the name of their file; those of all others have none.
        last_mark = np.maximum.accumulate(np.where(marks, np.arange(len(symbols)), -1))
        units = np.where((last_mark >= 0) & (symbols["info"] >> 4 == 0), symbols["name"][last_mark], 0)
        units[units >= len(strings)] = 0
        are_chosen = _are_functions(file, symbols, strings)
        versions, suffixes = _read_versions(file, number, len(symbols))
        functions = symbols[are_chosen]
        yield SymbolTable(
            strings,
            functions["name"].astype(np.int64),
            functions["value"].astype(np.uint64),
            functions["size"].astype(np.uint64),
            functions["info"],
            _section_limits(file, functions),
            units[are_chosen].astype(np.int64),
            versions[are_chosen],
            suffixes,
            is_full,
        )


def _are_functions(file: Tables, symbols: Array, strings: bytes) -> Array:
    """Return which symbols are named functions that are defined in the file: booleans, shape (n,). A label
    in assembler code has no type; it counts if it is in code."""
    kinds = symbols["info"] & 0xF
    have_names = (symbols["shndx"] != 0) & (symbols["name"] > 0) & (symbols["name"] < len(strings) - 2)
    labels = have_names & (kinds == UNTYPED)
    limits = _section_limits(file, symbols)
    labels &= symbols["value"] < limits
    name_offsets = np.minimum(symbols["name"], len(strings) - 1).astype(np.intp)
    first = np.frombuffer(strings, np.uint8)[name_offsets]
    labels &= (first != ord("$")) & (first != ord("."))  # marks of assemblers ($x, .L1, .annobin_*)
    return np.asarray(defined_functions(symbols, strings) | labels)


def _section_limits(file: Tables, symbols: Array) -> Array:
    """Return the end of the executable section of each symbol, 0 if it is in none."""
    sections = file.sections
    has_section = (symbols["shndx"] < min(len(sections), _RESERVED)) & (symbols["shndx"] > 0)
    section_of = (
        sections[np.where(has_section, symbols["shndx"], 0)]
        if len(sections)
        else np.zeros(len(symbols), "u8")
    )
    if not len(sections):
        return section_of
    has_section &= section_of["flags"] & _EXECUTABLE != 0
    starts, values = section_of["addr"].astype(np.uint64), symbols["value"].astype(np.uint64)
    has_section &= values >= starts
    return np.where(has_section, starts + section_of["size"].astype(np.uint64), np.uint64(0))


def _read_versions(file: Tables, dynsym: int, count: int) -> tuple[Array, tuple[str, ...]]:
    """Return an index of suffixes for each dynamic symbol, and the suffixes."""
    unversioned: tuple[Array, tuple[str, ...]] = np.zeros(count, np.int64), ("",)
    with contextlib.suppress(ElfError, OSError):
        sections = file.sections
        for section in sections[(sections["type"] == _VERSYM) & (sections["link"] == dynsym)]:
            raw = file.content(section)
            numbers = np.frombuffer(raw[: len(raw) // 2 * 2], "u2")[:count].astype(np.int64)
            if len(numbers) < count:
                return unversioned
            names = _read_defined_versions(file)
            versions = [""]
            indices = dict[int, int]()
            for number in np.unique(numbers).tolist():
                name = names.get(number & ~_HIDDEN)
                if name:
                    indices[number] = len(versions)
                    versions.append(f"@{name}" if number & _HIDDEN else f"@@{name}")
            values, inverse = np.unique(numbers, return_inverse=True)
            version_indexes = np.array([indices.get(number, 0) for number in values.tolist()], np.int64)
            return version_indexes[inverse], tuple(versions)
    return unversioned


def _read_defined_versions(file: Tables) -> dict[int, str]:
    """Return the names of the versions that a file defines, by number."""
    versions = dict[int, str]()
    for section in file.sections[file.sections["type"] == _VERDEF]:
        link = int(section["link"])
        if link >= len(file.sections):
            continue
        data, strings = file.content(section), file.content(file.sections[link]) + b"\0"
        offset = 0
        for _ in range(_VERSIONS):
            if offset + 20 > len(data):
                break
            # Elf64_Verdef: version, flags, number, names, hash, where its names are, where the next is
            _, flags, number, _, _, aux, following = struct.unpack_from("=HHHHIII", data, offset)
            if not flags & _BASE and offset + aux + 4 <= len(data):
                [name] = struct.unpack_from("=I", data, offset + aux)
                versions[number] = elf_tables.name_at(strings, name)
            if not following:
                break
            offset += following
    return versions


def name_offsets_of(name: bytes, strings: bytes) -> list[int]:
    """Return the offsets of a name in a string table, alone or before a version. Names may share their
    ends."""
    return [
        offset
        for end in (b"\0", b"@")
        for offset in itertools.islice(_find_offsets(name + end, strings), _PLACES)
    ]


def _find_offsets(text: bytes, strings: bytes) -> Iterator[int]:
    """Yield the offsets of a text. (``re`` takes twenty times as long.)"""
    position = strings.find(text)
    while position >= 0:
        yield position
        position = strings.find(text, position + 1)
