"""The functions of programs: which file an address was mapped from, and which symbol it lies in there.

What is needed for that goes away with the process: its memory maps are read, and its files opened, while it
lives. Names are looked up when they are wanted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from pytracer.arrays import Array, np
from pytracer.record import record, replace
from pytracer.symbols import debug, elf, jit, maps
from pytracer.symbols.maps import Mapping
from pytracer.symbols.tables import ElfError

UNKNOWN = "[unknown]"
ASTRAY = "[no frame pointer]"
"""An address where the process has no code: the function before it in a stack kept something else where frame
pointers are kept. (So looks what was loaded less than a second before the process ended, too.)"""
_LOW = 1 << 32  # below which 32-bit programs are
_LAYOUTS = 4  # that are kept of one process: libraries come and go
_OPEN = 256  # files that wait to be read
_ROOM = 1 << 30  # bytes of symbols, of all files


class _File:
    """A file that was mapped, open until its symbols are read."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._elf: elf.Elf | None = None

    def read(self, room: int) -> elf.Elf | None:
        """What is in it, if its tables have no more than ``room`` bytes; None where it is no ELF file."""
        if self.descriptor >= 0:
            with contextlib.suppress(ElfError, OSError):
                self._elf = _with_debug(elf.read(self.descriptor, room), room)
            self.close()
        return self._elf

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _with_debug(found: elf.Elf, room: int) -> elf.Elf:
    """With the symbols that were taken out, where a distribution's package has brought them."""
    if found.whole:
        return found
    with contextlib.suppress(ElfError, OSError), debug.separate(found.build_id) as file:
        if file is not None:
            symbols = elf.read(file.descriptor, room)
            if len(symbols.functions):
                return replace(found, functions=symbols.functions, whole=symbols.whole)
    return found


@record
class _Layout:
    """The mappings of a process at one moment, and the file of each; ``text`` is the hash of what said so."""

    text: int
    mappings: tuple[Mapping, ...]
    files: tuple[_File | None, ...]


class _Program:
    """One run of a program: its layouts, the latest last, and the functions that it made itself."""

    def __init__(self) -> None:
        self.layouts: list[_Layout] = []
        self.made: jit.Made | None = None


def _is_made(mapping: Mapping) -> bool:
    """Whether it is no file's code, but what the program wrote there itself."""
    return mapping.path.startswith(("/memfd:", "/dev/zero", "[anon")) or not mapping.path


class UserSymbols:
    """Names of addresses in processes, each known by its id and its image (:func:`maps.image_of`)."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._programs: dict[tuple[int, int], _Program] = {}
        self._of_image: dict[int, _Program] = {}
        self._files: dict[tuple[int, ...], _File] = {}
        self._vdso: _File | None = None
        self._open = 0
        self._room = _ROOM

    def notice(self, pid: int) -> bool:
        """Take note of what a process has mapped; whether it could be seen."""
        for _ in range(2):  # it may have executed another program in between
            image = maps.image_of(pid)
            text = maps.read(pid)
            if image and text and maps.image_of(pid) == image:
                self._keep(pid, image, text)
                return True
        return False

    def names(self, pid: int, image: int, addresses: Array) -> list[str]:
        """The function that each address (uint64, shape (n,)) lies in; ``file+0x...`` in a file without
        symbols for it, ``[unknown]`` where it is not known what was mapped, ASTRAY where no code was."""
        names = [""] * len(addresses)
        # A child that ended too early to be looked at has the layout of whom it was forked from.
        program = self._programs.get((pid, image)) or self._of_image.get(image) or _Program()
        left = np.arange(len(addresses))
        for layout in reversed(program.layouts):
            left = self._name(program, layout, addresses, left, names)
        rest = ASTRAY if program.layouts else UNKNOWN
        return [name or rest for name in names]

    def close(self) -> None:
        """Let go of files that were not read."""
        for file in (*self._files.values(), *([self._vdso] if self._vdso else [])):
            file.close()
        for program in self._programs.values():
            if program.made is not None:
                program.made.close()

    def _keep(self, pid: int, image: int, text: bytes) -> None:
        program = self._of_image[image] = self._programs.setdefault((pid, image), _Program())
        layouts = program.layouts
        if not layouts or layouts[-1].text != hash(text):
            mappings = maps.parse(text)
            layouts.append(_Layout(hash(text), mappings, tuple(self._file(pid, m) for m in mappings)))
            del layouts[:-_LAYOUTS]
        if not program.made and any(map(_is_made, layouts[-1].mappings)):
            program.made = jit.Made(pid)

    def _file(self, pid: int, mapping: Mapping) -> _File | None:
        """The file of a mapping. One that was written anew is another, though its inode may be the same."""
        if mapping.path == maps.VDSO and mapping.start >= _LOW:
            if self._vdso is None:
                memory = os.memfd_create("vdso")
                os.write(memory, maps.vdso())
                self._vdso = _File(memory)
            return self._vdso
        handle = maps.find_file(pid, mapping) if mapping.inode else None
        if handle is None:
            return None
        with handle:
            at = handle.stat
            key = at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns
            if key not in self._files:
                if self._open >= _OPEN:
                    for file in self._files.values():
                        self._read(file)
                    self._open = 0
                try:
                    self._files[key] = _File(handle.open())
                except OSError:
                    return None
                self._open += 1
            return self._files[key]

    def _read(self, file: _File) -> elf.Elf | None:
        new = file.descriptor >= 0
        found = file.read(self._room)
        if new and found is not None:
            self._room -= found.functions.nbytes
        return found

    def _name(
        self, program: _Program, layout: _Layout, addresses: Array, left: Array, names: list[str]
    ) -> Array:
        """Fill in the ``names`` that a layout tells of the addresses at ``left``; which are left then."""
        starts = np.array([mapping.start for mapping in layout.mappings], np.uint64)
        ends = np.array([mapping.end for mapping in layout.mappings], np.uint64)
        place = np.searchsorted(starts, addresses[left], side="right").astype(np.intp) - 1
        inside = (place >= 0) & (addresses[left] < ends[place]) if len(starts) else place >= 0
        for number in np.unique(place[inside]).tolist():
            chosen = left[inside & (place == number)]
            for at, name in zip(chosen, self._in(program, layout, number, addresses[chosen]), strict=True):
                names[at] = name
        return left[~inside]

    def _in(self, program: _Program, layout: _Layout, number: int, addresses: Array) -> Iterable[str]:
        """The names of addresses in one mapping."""
        mapping, file = layout.mappings[number], layout.files[number]
        if program.made and _is_made(mapping):
            return [name or UNKNOWN for name in program.made.find(addresses)]
        if not mapping.inode and file is None:
            return [mapping.name or UNKNOWN] * len(addresses)
        offsets = addresses - np.uint64(mapping.start) + np.uint64(mapping.offset)
        found = self._read(file) if file is not None else None
        if found is None:
            return [f"{mapping.name}+0x{offset:x}" for offset in offsets.tolist()]
        places = found.address_of(offsets)
        return [
            name or f"{mapping.name}+0x{place:x}"
            for name, place in zip(found.functions.find(places), places.tolist(), strict=True)
        ]
