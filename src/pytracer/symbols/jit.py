"""Read functions of JIT compilers from perf maps (/tmp/perf-PID.map).

HotSpot (``jcmd PID Compiler.perfmap``), node (``--perf-basic-prof``), Python (``-X perf``), .NET
(``DOTNET_PerfMapEnabled=1``) and LuaJIT write them. A line is ``START SIZE NAME``, both numbers in
hexadecimal, with or without ``0x`` and leading zeros.

The folder is open to all: a file counts only if it is a plain one, has no other name, and belongs to the user
that the process runs as, or to root. It may be of any size, and grow while it is read: only what was added is
read, into arrays, within a budget; names stay in the file until they are wanted.

Addresses are reused, and lines have no times: a line was written between two readings of the file. The
function at the time of a sample is certain if only one line can have been the latest then. Of a list that
is rewritten as a whole (jcmd) only the last version is known, and used for all times.

See "Finding names" in docs/internals.md.
"""

from __future__ import annotations

import contextlib
import os
import re
import string
from collections.abc import Iterable
from typing import NamedTuple

from pytracer import ktime
from pytracer.arrays import Array, np
from pytracer.budget import Account, OverBudgetError
from pytracer.symbols import elf_tables
from pytracer.symbols.history import UNLOADED
from pytracer.symbols.memory_maps import Mapping, started
from pytracer.symbols.owners import Credentials, credentials, root_of_namespace
from pytracer.symbols.root import Root
from pytracer.text import from_bytes

_PIECE = 1 << 22  # bytes that are read at once
_ENTRY = 24  # bytes that are kept of each line
_DIGITS = 16
_SHORTEST = len("1 1 f")
_BLANKS = 8  # between numbers, at the most
_NONE = 255
_VALUES = bytes(int(chr(c), 16) if chr(c) in string.hexdigits else _NONE for c in range(256))
_MARK = 64  # bytes that show whether a file was written anew
LATEST = 1 << 64
"""A time (ns) after all others."""
_EPOCH = 60_000_000_000  # ns between two epochs at the most, and at the least
_SHORT = 500_000_000
_BATCHES = 1024  # of lines, by time: beyond it, older batches are merged
_MANY = -2  # stands for lines in between, of which there are several
_LINE = [("start", "u8"), ("end", "u8"), ("name", "i8")]  # the last: where in the file it is


class _Batch(NamedTuple):
    """Lines that were written after one time and before another (CLOCK_MONOTONIC, ns), in their order."""

    after: int
    before: int
    lines: Array


DUMP_IS_NOT_READ = (
    "writes a jitdump, which is not read; functions without a perf map (node --perf-basic-prof) are [anon]"
)
_DUMP = re.compile(r"/jit-\d+\.dump( \(deleted\))?$")


def has_dump(mappings: Iterable[Mapping]) -> bool:
    """Return whether a process writes a jitdump: it maps the file with code, so that perf finds it."""
    return any(_DUMP.search(mapping.path) for mapping in mappings)


class PerfMap:
    """The perf map of one process, which names functions of its JIT; the file stays open after it exits."""

    def __init__(self, pid: int, account: Account, credentials: Credentials | None = None) -> None:
        """Open its file, if there is one."""
        self._account = account
        self._descriptor = _open(pid, credentials)
        self._stamp = (-1, -1)
        self._looked = 0
        self._changed = ktime.monotonic_ns()
        self._epoch = 0
        self._forget()

    def __bool__(self) -> bool:
        return self._descriptor >= 0

    @property
    def is_due(self) -> bool:
        """Return whether to begin a new epoch, so that functions that run now are distinguished from later
        ones.

        The longer the file stays unchanged, the less often an epoch begins.
        """
        now = ktime.monotonic_ns()
        return now - self._epoch >= min(max((now - self._changed) // 2, _SHORT), _EPOCH)

    def begin_epoch(self) -> None:
        """Record that an epoch begins now."""
        self._epoch = ktime.monotonic_ns()

    def update(self) -> None:
        """Read the lines that were added to the file since the last time."""
        with contextlib.suppress(OSError, OverBudgetError), self._account.timed():
            self._update()

    def find(self, addresses: Array, begin: int = LATEST, end: int = LATEST) -> list[str | None]:
        """Return the function at each address (uint64, shape (n,)) at some time from ``begin`` to ``end``
        (CLOCK_MONOTONIC, ns), as far as the file has it by now; None if it names none, UNLOADED if it names
        several. By default, the function that was written last."""
        self.update()
        with contextlib.suppress(OSError, OverBudgetError), self._account.timed():
            distinct, inverse = np.unique(addresses, return_inverse=True)
            names = [self._choose(lines, begin, end) for lines in self._find_candidates(distinct)]
            return [names[index] for index in inverse.tolist()]
        return [None] * len(addresses)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._forget()

    def _forget(self) -> None:
        """Start from the beginning of the file."""
        count = sum(len(batch.lines) for batch in getattr(self, "_batches", []))
        self._account.refund(entries=count, memory=count * _ENTRY)
        self._batches: list[_Batch] = []
        self._at = 0  # of the file up to here is read: the beginning of a line, or within a long one
        self._within = False
        self._marks: tuple[bytes, bytes] = (b"", b"")

    def _update(self) -> None:
        """Read lines that were appended. Raises OverBudgetError, or OSError."""
        previous_look, self._looked = self._looked, ktime.monotonic_ns()
        stat = os.fstat(self._descriptor)
        stamp = stat.st_size, stat.st_mtime_ns
        if stamp == self._stamp:
            return
        if stat.st_size < self._at or self._read_marks() != self._marks:
            self._forget()  # HotSpot writes its whole list into the same file each time
            previous_look = 0
        self._changed = self._looked
        try:
            while text := os.pread(self._descriptor, _PIECE, self._at):
                self._account.check()
                consumed = self._add_batch(text, previous_look)
                self._at += consumed
                if not consumed:  # the last line may still be written
                    break
            self._stamp = stamp
        finally:
            self._marks = self._read_marks()

    def _read_marks(self) -> tuple[bytes, bytes]:
        size = min(_MARK, self._at)
        return os.pread(self._descriptor, size, 0), os.pread(self._descriptor, size, self._at - size)

    def _add_batch(self, text: bytes, previous_look: int) -> int:
        """Keep the lines of a piece of the file; how many of its bytes are done with."""
        end = text.rfind(b"\n") + 1
        if not end:
            self._within = self._within or len(text) == _PIECE
            return len(text) if self._within else 0
        begin = text.find(b"\n") + 1 if self._within else 0
        self._within = False
        lines = _parse(np.frombuffer(text, np.uint8)[begin:end], self._at + begin)
        if len(lines):
            self._account.charge(entries=len(lines), memory=lines.nbytes)
            self._batches.append(_Batch(previous_look, ktime.monotonic_ns(), lines))
            if len(self._batches) > _BATCHES:
                pairs = zip(self._batches[::2], self._batches[1::2], strict=False)
                joined_batches = [
                    _Batch(a.after, b.before, np.concatenate((a.lines, b.lines))) for a, b in pairs
                ]
                self._batches = joined_batches + self._batches[2 * len(joined_batches) :]
        return end

    def _find_candidates(self, addresses: Array) -> list[list[tuple[int, int, int]]]:
        """Return for each address (ascending) the lines that cover it, in their order: after and before which
        time they were written, and where in the file their name is."""
        candidates: list[list[tuple[int, int, int]]] = [[] for _ in addresses]
        for read_after, read_before, lines in self._batches:
            starts, end_addresses = np.sort(lines["start"]), np.sort(lines["end"])
            count = np.searchsorted(starts, addresses, "right") - np.searchsorted(
                end_addresses, addresses, "right"
            )
            if not count.any():
                continue
            last, first = _cover(lines, addresses), _cover(lines[::-1], addresses)
            for index in np.flatnonzero(count).tolist():
                places = [int(first[index]), *([_MANY] if count[index] > 2 else []), int(last[index])]
                candidates[index] += [
                    (read_after, read_before, line_offset)
                    for line_offset in (places if count[index] > 1 else places[:1])
                ]
        return candidates

    def _choose(self, lines: list[tuple[int, int, int]], begin: int, end: int) -> str | None:
        """Return the name of the line that was the latest between two times; UNLOADED if several may be."""
        at_first = [line_offset for _, read_before, line_offset in lines if read_before <= begin][-1:]
        matching = [
            line_offset
            for read_after, read_before, line_offset in lines
            if read_before > begin and read_after < end
        ]
        candidates = at_first + matching or [line_offset for _, _, line_offset in lines]
        if begin < LATEST and _MANY in candidates:
            return UNLOADED
        names = {self._name(line_offset) for line_offset in candidates}
        return names.pop() if len(names) == 1 else UNLOADED if names else None

    def _name(self, line_offset: int) -> str | None:
        if line_offset < 0:
            return None
        name = os.pread(self._descriptor, elf_tables.NAME_LIMIT, line_offset).partition(b"\n")[0]
        return from_bytes(name.rstrip(b"\r"))


def _open(pid: int, owner: Credentials | None) -> int:
    """Open the perf map of a process, in its own /tmp by its id there, or in ours; -1 if there is none."""
    owner = owner or credentials(pid)
    if owner is None:
        return -1
    # To root all is allowed: a process that was root when it made the file, or tools that make it for others.
    owners = {owner.euid, 0, root_of_namespace(pid)}
    with contextlib.suppress(OSError):
        # One that is older is of another process, which had the number before.
        start_time = started(pid) - 1
        for process, number in ((pid, owner.pids[-1]), (0, owner.pids[0])):
            path = f"/tmp/perf-{number}.map"
            with contextlib.suppress(OSError), Root(process) as root, root.look(path) as handle:
                stat = handle.stat
                is_theirs = stat.st_nlink == 1 and stat.st_uid in owners and stat.st_mtime >= start_time
                if handle.is_file and is_theirs:
                    return handle.open()
    return -1


def _cover(lines: Array, addresses: Array) -> Array:
    """Return the place of the last of the ``lines`` that covers each address (ascending); -1 for none.

    A line covers a run of addresses, which is the union of two runs of 2**level; the last line is noted for
    those, and handed down level by level. This takes as long for lines that all overlap as for others.
    """
    low = np.searchsorted(addresses, lines["start"])
    length = np.searchsorted(addresses, lines["end"]) - low
    nonempty = np.flatnonzero(length)
    last = np.full(len(addresses), -1, np.int64)
    if not len(nonempty):
        return last
    low, length = low[nonempty], length[nonempty]
    level = np.frexp(length)[1] - 1
    highest = int(level.max())
    for height in range(highest, -1, -1):
        run = 1 << height
        if height < highest:
            last[run:] = np.maximum(last[run:], last[:-run])
        indices = np.flatnonzero(level == height)
        for begin in (low[indices], low[indices] + length[indices] - run):
            covered_by = np.full(len(addresses), -1, np.int64)
            covered_by[begin] = nonempty[indices]  # ascending; of several for one place NumPy keeps the last
            last = np.maximum(last, covered_by)
    names: Array = np.where(last >= 0, lines["name"][last], -1)
    return names


def _parse(data: Array, base: int) -> Array:
    """Parse the lines in ``data`` (uint8, whole lines, shape (n,)), which is at offset ``base`` of the
    file."""
    newlines = np.flatnonzero(data == ord("\n"))
    positions = np.concatenate(([0], newlines[:-1] + 1))
    positions = positions[newlines - positions >= _SHORTEST]
    start, positions, is_valid = _parse_hex(data, positions)
    size, positions, is_number = _parse_hex(data, positions)
    end = start + size
    is_valid &= is_number & (end > start) & (data[positions] != ord("\n"))
    lines = np.zeros(int(is_valid.sum()), np.dtype(_LINE))
    lines["start"], lines["end"], lines["name"] = start[is_valid], end[is_valid], positions[is_valid] + base
    return lines


def _parse_hex(data: Array, positions: Array) -> tuple[Array, Array, Array]:
    """Return the hexadecimal number at each place (shape (n,)), the place behind it and its blanks; if it is
    one.

    No step leads beyond the end of a line.
    """
    if not len(positions):
        return positions.astype(np.uint64), positions, positions > 0
    following = data[np.minimum(positions + 1, len(data) - 1)]
    positions = positions + 2 * ((data[positions] == ord("0")) & (following | 0x20 == ord("x")))
    first = positions
    digit_of = np.frombuffer(_VALUES, np.uint8).astype(np.uint64)
    value = np.zeros(len(positions), np.uint64)
    digits = digit_of[data[positions]]
    for _ in range(_DIGITS):
        active = digits < _NONE
        if not active.any():
            break
        value = np.where(active, value << np.uint64(4) | digits, value)
        positions = positions + active
        digits = digit_of[data[positions]]
    blank = data[positions] == ord(" ")
    is_valid = (positions > first) & blank
    for _ in range(_BLANKS):
        if not blank.any():
            break
        positions = positions + blank
        blank = data[positions] == ord(" ")
    return value, positions, is_valid
