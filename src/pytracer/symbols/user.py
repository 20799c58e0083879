"""The functions of programs: which file an address was mapped from, and which symbol it lies in there.

What is needed for that goes away with the process: its memory maps are read, and its files opened, while it
lives. Names are looked up when they are wanted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from pytracer.arrays import Array, np
from pytracer.budget import Account, Budget, OverBudgetError
from pytracer.record import record
from pytracer.symbols import elf, jit, maps, owners
from pytracer.symbols.maps import Mapping
from pytracer.symbols.owners import Credentials
from pytracer.symbols.tables import ElfError

UNKNOWN = "[unknown]"
ASTRAY = "[no frame pointer]"
"""An address where the process has no code: the function before it in a stack kept something else where frame
pointers are kept. (So looks what was loaded less than a second before the process ended, too.)"""
_LOW = 1 << 32  # below which 32-bit programs are
_LAYOUTS = 4  # that are kept of one process: libraries come and go
_OPEN = 256  # files that wait to be read
_MAPPING = 500  # bytes that one is kept in


class _File:
    """A file that was mapped, open until its symbols are read; charged to whom it was first opened for."""

    def __init__(self, descriptor: int, account: Account) -> None:
        self.descriptor = descriptor
        self._account = account
        self._elf: elf.Elf | None = None

    @property
    def was_skipped(self) -> bool:
        """True once it was closed without being read, since that would have been too much."""
        return self.descriptor < 0 and self._elf is None

    def read(self, account: Account | None = None) -> elf.Elf | None:
        """What is in it; None where it is no ELF file, or more than ``account`` may spend."""
        account = account or self._account
        if self.descriptor >= 0:
            with contextlib.suppress(ElfError, OSError):
                try:
                    with account.timed():
                        self._elf = elf.read(self.descriptor, account)
                except OverBudgetError:
                    return None  # another user may map it, too
            self.close()
        return self._elf

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@record
class _Layout:
    """The mappings of a process at one moment, and the file of each; ``text`` is the hash of what said so."""

    text: int
    mappings: tuple[Mapping, ...]
    files: tuple[_File | None, ...]


class _Program:
    """One run of a program: its layouts, the latest last, and the functions that it made itself."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.layouts: list[_Layout] = []
        self.made: jit.PerfMap | None = None


def _is_made(mapping: Mapping) -> bool:
    """Whether it is no file's code, but what the program wrote there itself."""
    return mapping.path.startswith(("/memfd:", "/dev/zero", "[anon")) or not mapping.path


class UserSymbols:
    """Names of addresses in processes, each known by its id and its image (:func:`maps.image_of`)."""

    def __init__(self, budget: Budget | None = None) -> None:
        """Nothing is known yet. ``budget`` is what may be spent on it: by default, as any run's."""
        self._budget = budget or Budget()
        self._programs: dict[tuple[int, int], _Program] = {}
        self._of_image: dict[int, _Program] = {}
        self._files: dict[tuple[int, ...], _File] = {}
        self._vdso: _File | None = None
        self._open = 0

    def notice(self, pid: int) -> bool:
        """Take note of what a process has mapped; whether it could be seen."""
        for _ in range(2):  # it may have executed another program in between
            image = maps.image_of(pid)
            known = owners.credentials(pid)
            if known is None:
                return False
            program = self._programs.get((pid, image))
            account = program.account if program else owners.account(self._budget, pid, known)
            try:
                with account.timed():
                    text = maps.read(pid, account.check)
                    if image and text and maps.image_of(pid) == image:
                        self._keep(pid, image, text, program or _Program(account), known)
                        return True
            except OverBudgetError:
                return False
        return False

    def names(self, pid: int, image: int, addresses: Array) -> list[str]:
        """The function that each address (uint64, shape (n,)) lies in; ``file+0x...`` in a file without
        symbols for it, ``[unknown]`` where it is not known what was mapped, ASTRAY where no code was."""
        names = [""] * len(addresses)
        program = self._program(pid, image)
        if program is None:
            return [UNKNOWN] * len(addresses)
        left = np.arange(len(addresses))
        for layout in reversed(program.layouts):
            left = self._name(program, layout, addresses, left, names)
        return [name or ASTRAY for name in names]

    def account(self, pid: int, image: int) -> Account | None:
        """Whom names of a process are charged to; None where it was not noticed."""
        program = self._program(pid, image)
        return None if program is None else program.account

    def _program(self, pid: int, image: int) -> _Program | None:
        # A child that ended too early to be looked at has the layout of whom it was forked from.
        return self._programs.get((pid, image)) or self._of_image.get(image)

    def close(self) -> None:
        """Let go of files that were not read."""
        for file in (*self._files.values(), *([self._vdso] if self._vdso else [])):
            file.close()
        for program in self._programs.values():
            if program.made is not None:
                program.made.close()

    def _keep(self, pid: int, image: int, text: bytes, program: _Program, known: Credentials) -> None:
        layouts, account = program.layouts, program.account
        if not layouts or layouts[-1].text != hash(text):
            mappings = maps.parse(text)
            account.charge(entries=len(mappings), memory=_MAPPING * len(mappings))
            if len(mappings) >= maps.RANGES:
                account.say(
                    "mappings", f"has more than {maps.RANGES} mappings with code: others have no names"
                )
            files = tuple(self._file(pid, mapping, account) for mapping in mappings)
            layouts.append(_Layout(hash(text), mappings, files))
            for layout in layouts[:-_LAYOUTS]:
                count = len(layout.mappings)
                account.refund(entries=count, memory=_MAPPING * count)
            del layouts[:-_LAYOUTS]
        self._programs[pid, image] = self._of_image[image] = program
        if not program.made and any(map(_is_made, layouts[-1].mappings)):
            program.made = jit.PerfMap(pid, account, known)

    def _file(self, pid: int, mapping: Mapping, account: Account) -> _File | None:
        """The file of a mapping. One that was written anew is another, though its inode may be the same."""
        if mapping.path == maps.VDSO and mapping.start >= _LOW:
            if self._vdso is None:
                memory = os.memfd_create("vdso")
                os.write(memory, maps.vdso())
                self._vdso = _File(memory, self._budget.account(0, "the vDSO"))
            return self._vdso
        handle = maps.find_file(pid, mapping) if mapping.inode else None
        if handle is None:
            return None
        with handle:
            at = handle.stat
            key = at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns
            if key not in self._files or self._files[key].was_skipped:
                account.check()
                if self._open >= _OPEN:
                    for file in self._files.values():
                        file.read()
                        file.close()
                    self._open = 0
                try:
                    self._files[key] = _File(handle.open(), account)
                except OSError:
                    return None
                self._open += 1
            return self._files[key]

    def _name(
        self, program: _Program, layout: _Layout, addresses: Array, left: Array, names: list[str]
    ) -> Array:
        """Fill in the ``names`` that a layout tells of the addresses at ``left``; which are left then."""
        starts = np.array([mapping.start for mapping in layout.mappings], np.uint64)
        ends = np.array([mapping.end for mapping in layout.mappings], np.uint64)
        place = np.searchsorted(starts, addresses[left], side="right").astype(np.intp) - 1
        inside = (place >= 0) & (addresses[left] < ends[place]) if len(starts) else place >= 0
        made = list[Array]()
        for number in np.unique(place[inside]).tolist():
            chosen = left[inside & (place == number)]
            if program.made and _is_made(layout.mappings[number]):
                made.append(chosen)
                continue
            for at, name in zip(chosen, self._in(program, layout, number, addresses[chosen]), strict=True):
                names[at] = name
        if made and program.made:  # at once: each look takes time for every function that it made
            chosen = np.concatenate(made)
            for at, found in zip(chosen, program.made.find(addresses[chosen]), strict=True):
                names[at] = found or UNKNOWN
        return left[~inside]

    def _in(self, program: _Program, layout: _Layout, number: int, addresses: Array) -> Iterable[str]:
        """The names of addresses in one mapping."""
        mapping, file = layout.mappings[number], layout.files[number]
        if not mapping.inode and file is None:
            return [mapping.name or UNKNOWN] * len(addresses)
        offsets = addresses - np.uint64(mapping.start) + np.uint64(mapping.offset)
        found = file.read(program.account) if file is not None else None
        if found is None:
            return [f"{mapping.name}+0x{offset:x}" for offset in offsets.tolist()]
        places = found.address_of(offsets)
        return [
            name or f"{mapping.name}+0x{place:x}"
            for name, place in zip(found.functions.find(places), places.tolist(), strict=True)
        ]
