"""Find functions of other files by the names that the dynamic linker uses."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Sequence
from typing import Protocol

from pytracer.arrays import np
from pytracer.errors import PytracerError
from pytracer.record import record
from pytracer.symbols import elf_tables, program_files, symtab
from pytracer.symbols.elf_tables import ElfError, Tables
from pytracer.symbols.program_files import ProgramFile
from pytracer.text import to_bytes

_FILES_LIMIT = 128
_DYNAMIC = 6  # SHT_DYNAMIC
_NEEDED, _RPATH, _RUNPATH = 1, 15, 29  # DT_*


@record
class Definition:
    """The definition of a function that another file calls by name. If ``is_ifunc``, the code there is a
    resolver, which chooses the function when a program starts. A Resolver keeps the ``file`` open."""

    file: ProgramFile
    offset: int
    is_ifunc: bool = False


class Resolver(Protocol):
    """Finds functions as the dynamic linker does."""

    def __call__(self, file: ProgramFile, symbol: str) -> Sequence[Definition]:
        """Find the functions that a call of ``symbol`` in ``file`` may reach; none if they are unknown."""
        ...


class Libraries:
    """Finds functions in the files that a process has mapped, or in the files that a file needs
    (DT_NEEDED).

    A context manager, which keeps the files open. If several files define a name (a library that replaces
    malloc), it finds all of them, which may be more than the one that the dynamic linker binds.
    """

    def __init__(self, process: int = 0) -> None:
        self._process = process
        self._open = dict[tuple[int, ...], ProgramFile]()
        self._needed = dict[tuple[int, ...], list[ProgramFile]]()
        self._exported = dict[tuple[int, ...], dict[str, list[tuple[int, bool]]]]()

    def __call__(self, file: ProgramFile, symbol: str) -> Sequence[Definition]:
        """Find the functions that a call of ``symbol`` in ``file`` may reach; none if they are unknown."""
        definitions = []
        for other in self._mapped if self._process else self._closure(file):
            identical = file if other.identity == file.identity else other
            with contextlib.suppress(ElfError, OSError):
                if identical.identity not in self._exported:
                    self._exported[identical.identity] = _read_exports(identical)
                for address, is_ifunc in self._exported[identical.identity].get(symbol, ()):
                    offset = identical.tables.offset_of(address)
                    if offset is not None:
                        definitions.append(Definition(identical, offset, is_ifunc))
        return definitions

    @functools.cached_property
    def _mapped(self) -> list[ProgramFile]:
        files = []
        with contextlib.suppress(PytracerError):
            for file in program_files.open_mapped(self._process):
                files.append(self._keep_open(file))
                if len(files) >= _FILES_LIMIT:
                    break
        return files

    def _closure(self, file: ProgramFile) -> list[ProgramFile]:
        """Return the file and all files that it needs, in the dynamic linker's search order."""
        libraries = self._needed.get(file.identity)
        if libraries is None:
            libraries = [file]
            visited = {file.identity}
            for library in libraries:
                for name, paths in _read_needed(library.tables):
                    if len(libraries) >= _FILES_LIMIT:
                        break
                    other = self._find(name, paths, library)
                    if other is not None and other.identity not in visited:
                        visited.add(other.identity)
                        libraries.append(other)
            self._needed[file.identity] = libraries = libraries[1:]
        return [file, *libraries]

    def _find(self, name: str, paths: Sequence[str], file: ProgramFile) -> ProgramFile | None:
        origin = os.path.dirname(file.name)  # noqa: PTH120 - of a text
        places = [path.replace("$ORIGIN", origin).replace("${ORIGIN}", origin) for path in paths]
        for path in [*(f"{folder}/{name}" for folder in places if folder.startswith("/")), name]:
            with contextlib.suppress(PytracerError), program_files.find(path, file.holder) as library:
                return self._keep_open(library)
        return None

    def _keep_open(self, file: ProgramFile) -> ProgramFile:
        """Keep the same file open for longer."""
        if file.identity not in self._open:
            descriptor = os.dup(file.descriptor)
            self._open[file.identity] = ProgramFile(descriptor, file.name, holder=file.holder)
        return self._open[file.identity]

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1].close()

    def __enter__(self) -> Libraries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read_exports(file: ProgramFile) -> dict[str, list[tuple[int, bool]]]:
    """Return the functions that other files can bind to: by name, their addresses and whether they are
    IFUNCs."""
    exports = dict[str, list[tuple[int, bool]]]()
    for symbols, strings, is_whole in symtab.symbol_tables(file.tables):
        if is_whole:
            continue
        is_exported = symtab.defined_functions(symbols, strings) & (
            symbols["info"] >> 4 != 0
        )  # not STB_LOCAL
        for symbol in symbols[is_exported]:
            name = elf_tables.name_at(strings, int(symbol["name"])).partition("@")[0]
            entry = int(symbol["value"]), int(symbol["info"]) & 0xF == symtab.IFUNC
            if entry not in exports.setdefault(name, []):
                exports[name].append(entry)
    return exports


def _read_needed(file: Tables) -> list[tuple[str, list[str]]]:
    """Return the names of the libraries that a file needs, and its search folders."""
    names, paths = list[str](), list[str]()
    with contextlib.suppress(ElfError, OSError):
        for section in file.sections[file.sections["type"] == _DYNAMIC]:
            link = int(section["link"])
            if link >= len(file.sections):
                continue
            strings = file.content(file.sections[link]) + b"\0"
            word = f"u{8 if file.width == 2 else 4}"
            dtype = np.dtype([("tag", word), ("value", word)])
            raw = file.content(section, 1 << 16)
            for row in np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype):
                if int(row["tag"]) == _NEEDED:
                    names.append(_read_path(strings, int(row["value"])))
                elif int(row["tag"]) in (_RPATH, _RUNPATH):
                    paths += _read_path(strings, int(row["value"])).split(":")
    return [(name, paths) for name in names[:_FILES_LIMIT]]


def _read_path(strings: bytes, name_offset: int) -> str:
    return os.fsdecode(to_bytes(elf_tables.name_at(strings, name_offset)))
