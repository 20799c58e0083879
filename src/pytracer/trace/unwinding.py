"""Supply the kernel with unwind tables of the files that sampled processes run (probes_c/include/unwind.h).

The table of a file is loaded when a process that maps it is first seen, or before a command runs, and serves
all processes. What a process has mapped the kernel looks up itself until that was read (Linux 5.17). Stacks
that are walked by frame pointers for want of a table are counted there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pytracer.arrays import Array, np
from pytracer.bpf.cache.unwind_tables import open_cache
from pytracer.bpf.load.unwind_maps import CODE, NO_TABLE, PART, REGION, UnwindMaps
from pytracer.budget import Account, Budget, OverBudgetError
from pytracer.record import record
from pytracer.symbols import dynamic_linker, memory_maps
from pytracer.symbols.commands import find_execution
from pytracer.symbols.elf_tables import ElfError
from pytracer.symbols.memory_maps import Handle, Mapping
from pytracer.symbols.python import Interpreter, locate
from pytracer.symbols.unwind.files import CodeSegments, read_table, read_vdso_table
from pytracer.symbols.unwind.stack import WalkEnd
from pytracer.text import harmless

_POLL_INTERVAL = 0.05  # seconds between two looks at which processes were sampled
# The same while processes are new, whose tables are not loaded: first those of a command, then others.
_FIRST_INTERVAL, _EARLY_INTERVAL = 0.002, 0.01
_FIRST, _EARLY = 0.2, 1.0  # seconds for which a command, and any process, is new
_MANY = 0.01  # of the stacks, that were walked by frame pointers since their tables came too late
_SWEEP = 10.0  # seconds between two looks at which processes have ended
_ROWS_LIMIT = 32 << 20  # of all tables: 256 MiB in the kernel
_PARTS = 8  # of a file that are mapped as code; others wait until their process is known
_WHOLE = 1 << 64

FileKey = tuple[int | str, ...]
"""The identity of a file (:attr:`Handle.identity`), or the name of the vDSO."""


_Part = tuple[int, int, int, int]
"""A part of a file, as the members of PART."""


class Region(NamedTuple):
    """An element of REGION, as a tuple that can be compared."""

    start: int
    end: int
    bias: int
    table: int
    rows: int


@record
class _Loaded:
    """A file whose table, if it has one, is in the kernel."""

    number: int = NO_TABLE
    rows: int = 0
    code: CodeSegments | None = None


class _Space:
    """The regions of the processes that share an image: forked ones, and all of a program that is always
    loaded at the same addresses."""

    def __init__(self) -> None:
        self.mappings = dict[int, Sequence[Mapping]]()  # by process, as they were last seen
        self.regions = dict[int, list[Region]]()
        self.files = set[FileKey]()

    def merge(self) -> list[Region]:
        """Return the regions of all its processes without those that contradict each other."""
        merged = list[Region]()
        for region in sorted(set[Region]().union(*self.regions.values())):
            if merged and region.start < merged[-1].end:
                previous = merged.pop()
                region = Region(previous.start, max(previous.end, region.end), 0, NO_TABLE, 0)
            merged.append(region)
        return merged


class TableSupply:
    """Loads the unwind table of each file, and the regions of each process, into the kernel."""

    def __init__(self, maps: UnwindMaps) -> None:
        """Start without tables."""
        self._maps = maps
        self._cache = open_cache()
        self._loaded = dict[FileKey, _Loaded]()
        self._unused = set[FileKey]()
        self._spaces = dict[int, _Space]()
        self._changed = set[int]()
        self._new_tables = dict[int, Array]()
        self._parts = dict[FileKey, set[_Part]]()  # that the kernel knows
        self._new_parts = dict[_Part, tuple[int, int, int]]()  # with the members of CODE
        self._noted = set[tuple[str, int, str]]()  # files of mappings since the last sweep
        self._next_sweep = time.monotonic() + _SWEEP
        self._rows = 0
        self._first_until = self._early_until = 0.0

    @property
    def poll_interval(self) -> float:
        """Seconds until processes that were sampled meanwhile should be added."""
        now = time.monotonic()
        if now < self._first_until:
            return _FIRST_INTERVAL
        return _EARLY_INTERVAL if now < self._early_until else _POLL_INTERVAL

    def preload(self, command: Sequence[str], budget: Budget) -> None:
        """Load the tables of a command, and of the libraries that are loaded with it, before it runs."""
        for path in dynamic_linker.loaded(dynamic_linker.program_of(find_execution(command))):
            with contextlib.suppress(OSError), Handle(Path(path)) as handle:
                self._load_file(handle, path, budget)
        self.flush()
        self._first_until = time.monotonic() + _FIRST

    def add_file(self, pid: int, mapping: Mapping, budget: Budget) -> None:
        """Load the table of a file that a process mapped, which may have ended since: others may map it, too.
        ``flush`` makes it count."""
        key = mapping.device, mapping.inode, mapping.path
        if key in self._noted or mapping.is_generated or not mapping.inode:
            return
        self._noted.add(key)
        handle = memory_maps.find_file(pid, mapping, is_exact=False)
        if handle is not None:
            with handle:
                self._load_file(handle, mapping.path, budget)

    def _load_file(self, handle: Handle, path: str, budget: Budget) -> None:
        """Load the table of a file at the expense of its owner."""
        if handle.is_file:
            account = budget.account(handle.stat.st_uid, f"file {harmless(path)}")
            with contextlib.suppress(OverBudgetError), account.timed():
                self._find_file(handle, account)

    def add(self, pid: int, image: int, mappings: Sequence[Mapping], account: Account) -> None:
        """Add what the stacks of a process need, as far as it is new; ``flush`` makes it count."""
        space = self._spaces.get(image)
        if space is None:
            if len(self._spaces) >= self._maps.space_limit:
                return
            space = self._spaces[image] = _Space()
        if pid not in space.mappings:
            self._early_until = time.monotonic() + _EARLY
        if space.mappings.get(pid) == mappings:
            return
        space.mappings[pid] = mappings
        space.regions[pid] = regions = []
        for mapping in mappings:
            loaded = _Loaded()
            with contextlib.suppress(OverBudgetError), account.timed():
                key, loaded = self._find(pid, mapping, account)
                space.files.add(key)
            start = None if loaded.code is None else loaded.code.row_start(mapping.offset)
            if loaded.code is None or start is None:
                regions.append(Region(mapping.start, mapping.end, 0, NO_TABLE, 0))
                continue
            bias = mapping.start - start
            regions.append(Region(mapping.start, mapping.end, bias % _WHOLE, loaded.number, loaded.rows))
            if loaded.code.interpreter is not None:
                self._add_python(pid, image, loaded.code.interpreter, bias - loaded.code.base)
        self._changed.add(image)

    def _add_python(self, pid: int, image: int, interpreter: Interpreter, bias: int) -> None:
        """Tell the kernel where a process has Python's interpreter, whose file it has mapped at ``bias``."""
        python = locate(interpreter, pid, bias)
        if python is not None:
            with contextlib.suppress(OSError):  # no room: its functions are those of the interpreter
                self._maps.set_python(image, python)

    def flush(self) -> None:
        """Give the kernel what was added, and at times remove what belongs to processes that ended.

        All is added at once, since the kernel waits for a grace period each time.
        """
        tables, self._new_tables = self._new_tables, {}
        parts, self._new_parts = self._new_parts, {}
        changed, self._changed = self._changed, set()
        with contextlib.suppress(OSError):  # no memory: frame pointers serve
            if tables:
                self._maps.set_tables(tables)
            if parts:
                self._maps.set_parts(np.array(list(parts), PART), np.array(list(parts.values()), CODE))
            if changed:
                self._maps.set_spaces(
                    {image: np.array(self._spaces[image].merge(), REGION) for image in changed}
                )
        if time.monotonic() >= self._next_sweep:
            self._sweep()
            self._next_sweep = time.monotonic() + _SWEEP

    def describe_fallbacks(self) -> str:
        """Return the text of a warning if many stacks were walked by frame pointers since their tables came
        too late, else ""."""
        ends = self._maps.count_ends()
        stacks, fallbacks = int(ends.sum()), int(ends[WalkEnd.FALLBACK])
        if fallbacks <= _MANY * stacks:
            return ""
        return (
            f"{fallbacks:,} of {stacks:,} stacks of programs were walked by frame pointers: "
            "the unwind tables of their processes were not loaded yet"
        )

    def _find(self, pid: int, mapping: Mapping, account: Account) -> tuple[FileKey, _Loaded]:
        """Return the file of a mapping; its table is loaded unless it is."""
        if mapping.path == memory_maps.VDSO:
            key: FileKey = (memory_maps.VDSO,)
            if key not in self._loaded:
                self._loaded[key] = _Loaded()
                with contextlib.suppress(ElfError):
                    self._loaded[key] = self._load(*read_vdso_table())
            return key, self._loaded[key]
        handle = None if mapping.is_generated else memory_maps.find_file(pid, mapping)
        if handle is None:
            return (), _Loaded()
        with handle:
            return self._find_file(handle, account)

    def _find_file(self, handle: Handle, account: Account) -> tuple[FileKey, _Loaded]:
        """Return a file; its table is loaded unless it is."""
        key = handle.identity
        if key not in self._loaded:
            self._loaded[key] = _Loaded()  # also if it cannot be read: once is enough
            with contextlib.suppress(ElfError, OSError):
                descriptor = handle.open()
                try:
                    self._loaded[key] = self._load(*read_table(descriptor, account, self._cache))
                finally:
                    os.close(descriptor)
        self._add_parts(key, handle.stat)
        return key, self._loaded[key]

    def _add_parts(self, key: FileKey, status: os.stat_result) -> None:
        """Have the kernel find a file's table by itself, where a process maps the file that is not known yet.

        A file system whose files have another device by stat(2) than in the kernel has none of these parts.
        """
        loaded, parts = self._loaded[key], self._parts.setdefault(key, set())
        device = os.major(status.st_dev) << 20 | os.minor(status.st_dev)
        segments = () if loaded.code is None else itertools.islice(loaded.code.iter_parts(), _PARTS)
        for offset, start in segments:
            part = device, status.st_ino, status.st_ctime_ns, offset
            if part not in parts:
                parts.add(part)
                self._new_parts[part] = start % _WHOLE, loaded.number, loaded.rows

    def _load(self, code: CodeSegments, rows: Array) -> _Loaded:
        """Have a table loaded by the next ``flush``, if there is room."""
        if self._rows + len(rows) > _ROWS_LIMIT:
            self._drop(self._find_unused())
        if not len(rows) or not self._maps.has_room or self._rows + len(rows) > _ROWS_LIMIT:
            return _Loaded()
        number = self._maps.reserve_table()
        self._new_tables[number] = rows
        self._rows += len(rows)
        return _Loaded(number, len(rows), code)

    def _sweep(self) -> None:
        """Remove the processes that have ended, and tables that no process needed for two sweeps."""
        self._maps.forget_found()
        self._noted.clear()
        for image, space in list(self._spaces.items()):
            for pid in [pid for pid in space.mappings if memory_maps.image_of(pid) != image]:
                del space.mappings[pid], space.regions[pid]
            if not space.mappings:
                self._maps.drop_space(image)
                del self._spaces[image]
        unused = self._find_unused()
        self._drop(self._unused & unused)
        self._unused = unused - self._unused

    def _find_unused(self) -> set[FileKey]:
        """Return the files that no known process has mapped."""
        return self._loaded.keys() - set[FileKey]().union(*(space.files for space in self._spaces.values()))

    def _drop(self, keys: Iterable[FileKey]) -> None:
        for key in keys:
            loaded = self._loaded.pop(key, None)
            if loaded is not None and loaded.code is not None:
                self._new_tables.pop(loaded.number, None)
                parts = self._parts.pop(key, set())
                self._maps.drop_parts(np.array([p for p in parts if not self._new_parts.pop(p, None)], PART))
                self._maps.drop_table(loaded.number)
                self._rows -= loaded.rows
