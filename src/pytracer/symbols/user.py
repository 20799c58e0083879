"""The functions of programs: which file an address was mapped from, and which symbol it lies in there.

What is needed for that goes away with the process: its memory maps are read, and its files opened, while it
lives. Names are looked up when they are wanted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from pytracer.arrays import Array, np
from pytracer.symbols import elf, maps
from pytracer.symbols.maps import Mapping

UNKNOWN = "[unknown]"
_LAYOUTS = 4  # that are kept of one process: libraries come and go
_OPEN = 256  # files that wait to be read


class _File:
    """A file that was mapped, open until its symbols are read."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._elf: elf.Elf | None = None

    def read(self) -> elf.Elf | None:
        """What is in it; None where that is no ELF file."""
        if self.descriptor >= 0:
            with contextlib.suppress(elf.ElfError, OSError):
                self._elf = elf.read(self.descriptor)
            self.close()
        return self._elf

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@dataclass(frozen=True)
class _Layout:
    """The mappings of a process at one moment: shape (n,) beside the Mapping objects."""

    text: bytes
    mappings: tuple[Mapping, ...]


class UserSymbols:
    """Names of addresses in processes, each known by its id and its image (:func:`maps.image_of`)."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._layouts: dict[tuple[int, int], list[_Layout]] = {}
        self._of_image: dict[int, tuple[int, int]] = {}
        self._files: dict[tuple[str, int], _File] = {}
        self._open = 0

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
        symbols for it, ``[unknown]`` where it is not known what was mapped."""
        names = [""] * len(addresses)
        # A child that ended too early to be looked at has the layout of whom it was forked from.
        known = self._layouts.get((pid, image)) or self._layouts.get(self._of_image.get(image, (0, 0)), [])
        left = np.arange(len(addresses))
        for layout in reversed(known):
            left = self._name(layout, addresses, left, names)
        return [name or UNKNOWN for name in names]

    def close(self) -> None:
        """Let go of files that were not read."""
        for file in self._files.values():
            file.close()

    def _keep(self, pid: int, image: int, text: bytes) -> None:
        layouts = self._layouts.setdefault((pid, image), [])
        self._of_image[image] = (pid, image)
        if layouts and layouts[-1].text == text:
            return
        layout = _Layout(text, maps.parse(text))
        layouts.append(layout)
        del layouts[:-_LAYOUTS]
        for mapping in layout.mappings:
            key = mapping.device, mapping.inode
            if mapping.inode and key not in self._files:
                self._files[key] = file = _File(maps.open_file(pid, mapping))
                self._open += file.descriptor >= 0
        if self._open > _OPEN:
            for file in self._files.values():
                file.read()
            self._open = 0

    def _name(self, layout: _Layout, addresses: Array, left: Array, names: list[str]) -> Array:
        """Fill in the ``names`` that a layout tells of the addresses at ``left``; which are left then."""
        starts = np.array([mapping.start for mapping in layout.mappings], np.uint64)
        ends = np.array([mapping.end for mapping in layout.mappings], np.uint64)
        place = np.searchsorted(starts, addresses[left], side="right").astype(np.intp) - 1
        inside = (place >= 0) & (addresses[left] < ends[place]) if len(starts) else place >= 0
        for number in np.unique(place[inside]).tolist():
            chosen = left[inside & (place == number)]
            for at, name in zip(chosen, self._in(layout.mappings[number], addresses[chosen]), strict=True):
                names[at] = name
        return left[~inside]

    def _in(self, mapping: Mapping, addresses: Array) -> Iterable[str]:
        if not mapping.inode:
            return [mapping.name or UNKNOWN] * len(addresses)  # [vdso], or made by the program itself
        offsets = addresses - np.uint64(mapping.start) + np.uint64(mapping.offset)
        found = self._files[mapping.device, mapping.inode].read()
        if found is None:
            return [f"{mapping.name}+0x{offset:x}" for offset in offsets.tolist()]
        places = found.address_of(offsets)
        return [
            name or f"{mapping.name}+0x{place:x}"
            for name, place in zip(found.functions.find(places), places.tolist(), strict=True)
        ]
