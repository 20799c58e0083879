"""Analyze the machine code of programs' functions on demand, with their files kept open."""

from __future__ import annotations

import weakref

from pytracer.spec import FunctionCode, ProbeSite
from pytracer.symbols import code, program_files
from pytracer.symbols.program_files import ProgramFile

_GO = (b".gopclntab", b".data.rel.ro.gopclntab", b".go.buildinfo")  # sections that Go's linker makes


class CodeReader:
    """Reads functions of any number of files, which stay open until it is closed or dropped."""

    def __init__(self) -> None:
        """Create the reader; files are opened on demand."""
        self._files = dict[tuple[object, ...], ProgramFile]()
        self._libraries = dict[int, code.Libraries]()
        self._known = dict[ProbeSite, FunctionCode]()
        self._closing = weakref.finalize(self, _close, self._files, self._libraries)

    def code(self, site: ProbeSite) -> FunctionCode:
        """See :class:`pytracer.kernel.facts.KernelInfo`."""
        if site not in self._known:
            libraries = self._libraries.setdefault(site.holder, code.Libraries(site.holder))
            self._known[site] = code.analyze(self._file(site), site, resolve=libraries)
        return self._known[site]

    def entry(self, site: ProbeSite) -> int:
        """See :class:`pytracer.kernel.facts.KernelInfo`."""
        file = self._file(site)
        return code.entry(file, site) if _has_go(file) else code.entry_behind_landing(file, site)

    def is_go(self, site: ProbeSite) -> bool:
        """See :class:`pytracer.kernel.facts.KernelInfo`."""
        file = self._file(site)
        return _has_go(file) and code.is_go(file, site)

    def close(self) -> None:
        """Close the files."""
        self._closing()

    def _file(self, site: ProbeSite) -> ProgramFile:
        key = site.file, site.holder, site.identity
        if key not in self._files:
            self._files[key] = program_files.find(*key)
        return self._files[key]


def _has_go(file: ProgramFile) -> bool:
    return any(file.tables.section(name) is not None for name in _GO)


def _close(open_files: dict[tuple[object, ...], ProgramFile], libraries: dict[int, code.Libraries]) -> None:
    for file in open_files.values():
        file.close()
    for library in libraries.values():
        library.close()
    open_files.clear()
    libraries.clear()
