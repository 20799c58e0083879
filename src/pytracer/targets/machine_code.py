"""The machine code of functions of programs: asked for function by function, with their files kept open."""

from __future__ import annotations

import weakref

from pytracer.spec import FunctionCode, Spot
from pytracer.symbols import code, files
from pytracer.symbols.files import ProgramFile

_GO = (b".gopclntab", b".data.rel.ro.gopclntab", b".go.buildinfo")  # sections that Go's linker makes


class CodeReader:
    """Reads functions of any number of files, which stay open until it is closed or dropped."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._files = dict[tuple[object, ...], ProgramFile]()
        self._libraries = dict[int, code.Libraries]()
        self._known = dict[Spot, FunctionCode]()
        self._closing = weakref.finalize(self, _close, self._files, self._libraries)

    def code(self, spot: Spot) -> FunctionCode:
        """See :class:`pytracer.kernel.facts.Facts`."""
        if spot not in self._known:
            libraries = self._libraries.setdefault(spot.holder, code.Libraries(spot.holder))
            self._known[spot] = code.analyze(self._file(spot), spot, resolve=libraries)
        return self._known[spot]

    def entry(self, spot: Spot) -> int:
        """See :class:`pytracer.kernel.facts.Facts`."""
        file = self._file(spot)
        if not any(file.tables.section(name) is not None for name in _GO):
            return spot.offset
        return code.entry(file, spot)

    def close(self) -> None:
        """Close the files."""
        self._closing()

    def _file(self, spot: Spot) -> ProgramFile:
        key = spot.file, spot.holder, spot.identity
        if key not in self._files:
            self._files[key] = files.find(*key)
        return self._files[key]


def _close(opened: dict[tuple[object, ...], ProgramFile], libraries: dict[int, code.Libraries]) -> None:
    for file in opened.values():
        file.close()
    for each in libraries.values():
        each.close()
    opened.clear()
    libraries.clear()
