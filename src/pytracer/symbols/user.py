"""Symbolize user-space addresses: find the file that an address was mapped from, and its symbol there.

Memory maps and files disappear with the process, so they are read and opened while it lives. Names are
looked up on demand, by what was mapped when the sample was taken (symbols/history.py).
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pytracer import ktime
from pytracer.arrays import Array, np
from pytracer.budget import Account, Budget, OverBudgetError
from pytracer.symbols import elf, jit, memory_maps, owners
from pytracer.symbols.elf_tables import ElfError
from pytracer.symbols.history import UNLOADED, MappingChanges, MappingReadings, Span, add_interval
from pytracer.symbols.memory_maps import Mapping
from pytracer.text import harmless

UNKNOWN = "[unknown]"
ANONYMOUS = "[anon]"
"""Code that the program wrote to anonymous memory, and that no perf map names."""
ASTRAY = "[no frame pointer]"
"""An address where the process has no code: the function before it in the stack uses the frame pointer
register for something else. (Files that were loaded less than a second before the process exited look the
same.)"""
_LOW = 1 << 32  # below which 32-bit programs are
_END = 1 << 32  # above all process ids
_GENERATIONS = 16  # of processes that are asked
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
        """Read the file; None if it is no ELF file, or costs more than ``account`` may spend."""
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


class _Program:
    """One run of a program: what its memory map showed, and the functions that it made itself."""

    def __init__(self, account: Account | None = None) -> None:
        self.account = account
        self.readings: MappingReadings[_File] = MappingReadings()
        self.text = 0  # the hash of the last reading
        self.made: jit.PerfMap | None = None


class _Ancestor(NamedTuple):
    """A process at the time of a ``generation``, and when it was forked from the next one (0: from none)."""

    program: _Program
    changes: MappingChanges[_File]
    generation: int | None
    forked_at: int

    @property
    def bounds(self) -> tuple[Array, Array]:
        return self.program.readings.bounds(), self.changes.bounds()


class _Found(NamedTuple):
    program: _Program
    mapping: Mapping
    file: _File | None


class UserSymbols:
    """Names of addresses in processes, each known by its id and its image (:func:`maps.image_of`)."""

    def __init__(self, budget: Budget | None = None) -> None:
        """Start without processes. ``budget`` limits the work; by default it is a new one."""
        self.blind = True
        """True if no source reports new mappings (:meth:`add_mapped`)."""
        self._budget = budget or Budget()
        self._programs: dict[tuple[int, int], _Program] = {}
        self._of_image: dict[int, _Program] = {}
        self._accounts: dict[int, Account] = {}
        self._changes: dict[int, MappingChanges[_File]] = {}
        self._births: dict[int, list[tuple[int, int]]] = {}  # (time, parent): ids are used again
        self._breaks: list[int] = []
        self._reread = set[int]()  # processes whose files may not be those that they were found as
        self._epochs: dict[int, list[tuple[int, int]]] = {}
        self._files: dict[tuple[int, ...], _File] = {}
        self._vdso: _File | None = None
        self._open = 0

    def notice(self, pid: int, generation: Callable[[], int] | None = None) -> bool:
        """Read what a process has mapped; whether it could be seen. ``generation`` gives that of the process
        now, where the kernel does not report changes (:meth:`add_mapped`)."""
        generation = generation or (lambda: 0)
        for _ in range(2):  # it may have executed another program in between
            begin, seen_first = ktime.monotonic_ns(), generation()
            image = memory_maps.image_of(pid)
            credentials = owners.credentials(pid)
            if credentials is None:
                return False
            program = self._programs.get((pid, image))
            account = (program and program.account) or owners.account(self._budget, pid, credentials)
            self._accounts[pid] = account
            try:
                with account.timed():
                    text = memory_maps.read(pid, account.check)
                    if image and text and memory_maps.image_of(pid) == image:
                        program = program or _Program(account)
                        pairs = self._read(pid, text, program, account)
                        # Files are found by where they are mapped: until they are open, it is being read.
                        end, seen_last = ktime.monotonic_ns(), generation()
                        program.readings.add(begin, end, seen_first if seen_first == seen_last else 0, pairs)
                        if seen_first != seen_last:
                            self._reread.add(pid)
                        self._programs[pid, image] = self._of_image[image] = program
                        mappings = program.readings.current
                        if not program.made and any(mapping.is_generated for mapping in mappings):
                            program.made = jit.PerfMap(pid, account, credentials)
                        if program.made:
                            program.made.update()
                        elif jit.has_dump(mappings):
                            account.say("jitdump", jit.DUMP_IS_NOT_READ)
                        return True
            except OverBudgetError:
                return False
        return False

    def add_mapped(self, pid: int, mapping: Mapping, time: int) -> bool:
        """Add a mapping with code that a process made at ``time`` (CLOCK_MONOTONIC, ns). Returns False
        if its file is not found by name, so that the memory map has to be read to find it."""
        file = None
        with contextlib.suppress(OverBudgetError):
            file = self._file(pid, mapping, self._account(pid), is_exact=False)
        self._changes.setdefault(pid, MappingChanges()).add_mapping(mapping, file, time)
        if mapping.inode:
            self._reread.add(pid)
        return file is not None or not mapping.inode

    def add_exec(self, pid: int, time: int) -> None:
        """Record that a process executed a program at that time."""
        self._changes.setdefault(pid, MappingChanges()).add_everywhere(time)

    def add_fork(self, pid: int, parent: int, time: int) -> None:
        """Record that a process was forked at that time, with all mappings of its ``parent``."""
        insort(self._births.setdefault(pid, []), (time, parent))

    def add_break(self, begin: int, end: int) -> None:
        """Record that some mappings made between these times, by any process, are unknown."""
        add_interval(self._breaks, begin, end)
        self._reread.update(pid for pid, _ in self._programs)

    def add_move(self, pid: int, begin: int, end: int) -> None:
        """Record that a process moved code (mremap) at some times in between, the last time at ``end``."""
        self._changes.setdefault(pid, MappingChanges()).add_move(begin, end)
        self._reread.add(pid)

    def mark_unseen(self, pid: int, time: int) -> None:
        """Record that a mapping made at that time did not raise the process's generation."""
        self._changes.setdefault(pid, MappingChanges()).mark_unseen(time)

    def makes_functions(self, pid: int, image: int) -> bool:
        """Return whether a process has a perf map of the functions that it generates."""
        program = self._programs.get((pid, image))
        return bool(program and program.made)

    def wants_epoch(self, pid: int, image: int) -> bool:
        """Return whether to begin a new epoch for a process: functions that it generates from now on may
        replace others at the same addresses, so later samples must be distinguished from earlier ones."""
        program = self._programs.get((pid, image))
        return bool(program and program.made and program.made.is_due)

    def add_epoch(self, pid: int, image: int, begin: int, end: int) -> None:
        """Record an epoch: samples of the process taken after ``end`` have a generation of ``begin`` or
        later, and samples with an older generation were taken before ``end``."""
        self._epochs.setdefault(pid, []).append((begin, end))
        program = self._programs.get((pid, image))
        if program and program.made:
            program.made.begin_epoch()

    def names(self, pid: int, image: int, generation: int | None, addresses: Array) -> list[str]:
        """Return the function at each address (uint64, shape (n,)) of a sample with this ``generation``:
        the time since which the process had the same code mapped; 0: unknown; None: as seen last.

        ``file+0x...`` in a file without symbols for it, ``[unknown]`` if no mapping is known, UNLOADED if
        it is not known which mapping the address had then, ASTRAY if the process has no code there.
        """
        names = [""] * len(addresses)
        lineage = self._lineage(pid, image, generation)
        bounds = np.unique(np.concatenate([part for process in lineage for part in process.bounds]))
        cells = np.searchsorted(bounds, addresses, side="right")
        perf_maps = dict[jit.PerfMap, list[int]]()
        for cell in np.unique(cells).tolist():
            indices = np.flatnonzero(cells == cell).tolist()
            found = self._at(lineage, int(addresses[indices[0]]))
            if isinstance(found, str):
                for index in indices:
                    names[index] = found
            elif found.program.made and found.mapping.is_generated:
                perf_maps.setdefault(found.program.made, []).extend(indices)
            else:
                for index, symbol in zip(indices, _read_names(found, addresses[indices]), strict=True):
                    names[index] = symbol
        for functions, indices in perf_maps.items():  # at once: each look takes time for every function
            functions_found = functions.find(addresses[indices], *self._window(pid, generation))
            for index, name in zip(indices, functions_found, strict=True):
                names[index] = name or UNKNOWN
        return names

    def locate(
        self, pid: int, image: int, address: int, generation: int | None = None
    ) -> tuple[elf.Elf, int] | None:
        """Return the file that a process has mapped at an address, and the offset in it; None if there is no
        file that can be read. ``generation`` is as for ``names``."""
        found = self._at(self._lineage(pid, image, generation), address)
        if isinstance(found, str) or found.file is None:
            return None
        file = found.file.read(found.program.account)
        return None if file is None else (file, address - found.mapping.start + found.mapping.offset)

    def mappings(self, pid: int, image: int) -> list[Mapping]:
        """Return the mappings of a process with code as they were last read, sorted by address."""
        program = self._programs.get((pid, image))
        return sorted(program.readings.current, key=lambda mapping: mapping.start) if program else []

    def mapping(self, pid: int, image: int, address: int, generation: int | None = None) -> Mapping | None:
        """Return the mapping of a process at an address."""
        found = self._at(self._lineage(pid, image, generation), address)
        return None if isinstance(found, str) else found.mapping

    def _window(self, pid: int, generation: int | None) -> tuple[int, int]:
        """Return the times between which a sample with this generation was taken."""
        if generation is None:
            return jit.LATEST, jit.LATEST
        epochs = self._epochs.get(pid, []) if generation else []
        index = bisect_right(epochs, (generation, jit.LATEST))
        return generation, epochs[index][1] if index < len(epochs) else jit.LATEST

    def account(self, pid: int, image: int) -> Account | None:
        """Return the account that pays for the names of a process; None if the process was not noticed."""
        program = self._programs.get((pid, image)) or self._of_image.get(image)
        return program.account if program else self._accounts.get(pid)

    def close(self) -> None:
        """Close the files that were not read."""
        for file in (*self._files.values(), *([self._vdso] if self._vdso else [])):
            file.close()
        for program in self._programs.values():
            if program.made is not None:
                program.made.close()

    def _account(self, pid: int) -> Account | None:
        """Return a process's account; None if the process exited before its owner was known."""
        if pid not in self._accounts and (credentials := owners.credentials(pid)) is not None:
            self._accounts[pid] = owners.account(self._budget, pid, credentials)
        return self._accounts.get(pid)

    def _read(
        self, pid: int, text: bytes, program: _Program, account: Account
    ) -> list[tuple[Mapping, _File | None]] | None:
        """Parse a memory map and open its files; None if it is the same as at the last reading."""
        if program.readings and program.text == hash(text) and pid not in self._reread:
            return None
        self._reread.discard(pid)
        mappings = memory_maps.parse(text)
        if len(mappings) >= memory_maps.RANGES:
            account.say(
                "mappings", f"has more than {memory_maps.RANGES} mappings with code: others have no names"
            )
        pairs = [(mapping, self._file(pid, mapping, account)) for mapping in mappings]
        new = program.readings.count_new(pairs)
        account.charge(entries=new, memory=_MAPPING * new)
        program.text = hash(text)
        return pairs

    def _lineage(self, pid: int, image: int, generation: int | None) -> list[_Ancestor]:
        """Return a process and the processes that it was forked from, each with the time of the fork, for a
        generation. A child that exited too early to be inspected has the mappings of its ancestors."""
        ancestors = list[_Ancestor]()
        program = self._programs.get((pid, image))
        if self.blind and program is None:
            program = self._of_image.get(image)
        while True:
            changes = self._changes.get(pid) or MappingChanges()
            births = self._births.get(pid, [])
            number = bisect_right(births, (generation or 0, _END))
            forked_at, parent = births[number - 1] if number else (0, 0)
            ancestors.append(_Ancestor(program or _Program(), changes, generation, forked_at))
            if not forked_at or len(ancestors) > _GENERATIONS:
                return ancestors
            pid, generation = parent, forked_at
            program = self._programs.get((pid, image))

    def _at(self, lineage: list[_Ancestor], address: int) -> _Found | str:
        """Return the mapping of an address, or the text to show instead of a name."""
        for program, changes, generation, forked_at in lineage:
            if generation is None:
                last = program.readings.latest(address)
                return _Found(program, *last) if last else ASTRAY if program.readings else UNKNOWN
            span = changes.span(address, generation, self._breaks)
            if not span.known:
                break
            if forked_at > span.begin:  # what was before was another process of that id
                span = Span(forked_at, span.end, known=True, times=span.times)
            mapping = program.readings.at(address, span, generation if self.blind else 0)
            if len(mapping) == 1:
                return _Found(program, *mapping[0])
            later = changes.mapping_made_at(address, span.begin)
            if later and not mapping:
                return _Found(program, *later)
            if mapping or span.begin > forked_at:
                break
        if any(
            process.program.readings.touches(address) or process.changes.touches(address)
            for process in lineage
        ):
            return UNLOADED
        has_history = any(process.program.readings or process.changes.executed for process in lineage)
        return ASTRAY if has_history else UNKNOWN

    def _file(
        self, pid: int, mapping: Mapping, account: Account | None, *, is_exact: bool = True
    ) -> _File | None:
        """Return the file of a mapping. A rewritten file is a new one, though its inode may be the same.
        Without an account, the file's owner is charged."""
        if mapping.path == memory_maps.VDSO and mapping.start >= _LOW:
            if self._vdso is None:
                memory = os.memfd_create("vdso")
                os.write(memory, memory_maps.vdso())
                self._vdso = _File(memory, self._budget.account(0, "the vDSO"))
            return self._vdso
        of_file = mapping.inode and not mapping.is_anonymous
        handle = memory_maps.find_file(pid, mapping, is_exact=is_exact) if of_file else None
        if handle is None:
            return None
        with handle:
            key = handle.identity
            if key not in self._files or self._files[key].was_skipped:
                account = account or self._budget.account(
                    handle.stat.st_uid, f"file {harmless(mapping.path)}"
                )
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


def _read_names(found: _Found, addresses: Array) -> Iterable[str]:
    """Return the names of addresses in one mapping."""
    mapping, file = found.mapping, found.file
    if mapping.is_anonymous:
        return [ANONYMOUS] * len(addresses)
    if not mapping.inode and file is None:
        return [mapping.name or UNKNOWN] * len(addresses)
    offsets = addresses - np.uint64(mapping.start) + np.uint64(mapping.offset)
    program_file = file.read(found.program.account) if file is not None else None
    if program_file is None:
        return [f"{mapping.name}+0x{offset:x}" for offset in offsets.tolist()]
    places = program_file.address_of(offsets)
    return [
        name or f"{mapping.name}+0x{file_offset:x}"
        for name, file_offset in zip(program_file.functions.find(places), places.tolist(), strict=True)
    ]
