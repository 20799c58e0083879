"""What a process had mapped at which address, and when: addresses are used again.

Two sources tell. The kernel records each mapping with code as it is made, with its time (:class:`Changes`).
And /proc/PID/maps is read now and then (:class:`Readings`): it shows what was mapped before, but only for a
moment. A reading answers for an address from the last change that touches it to the next.

See "Generations" in docs/internals.md.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from pytracer.arrays import Array, np
from pytracer.symbols.maps import Mapping

UNLOADED = "[unloaded]"
"""An address at which something else was mapped, or made by a JIT, before or after, where it is not known
what was there at the time of the sample."""
_END = 1 << 64
_LAST = (1 << 64) - 1  # no code is mapped there
_TIMES = 1 << 16  # changes that are kept of one process: of older ones it is only known that there were some
_RANGES = 4096  # ranges that are told apart in one process: more are widened, and answer for less
_WIDER = 30  # bits of addresses that are then left out
_FILES = 4096  # mappings of files that are remembered as they were made

F = TypeVar("F")


class Span(NamedTuple):
    """From which change (0: none) to which nothing touched an address; ``known`` is False where that cannot
    be told. ``times`` are those of all changes that touched it, in their order."""

    begin: int
    end: int
    known: bool
    times: Sequence[int] = ()


class _Range:
    """When something was mapped to a range of addresses; ``since`` when that is known."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.since = 0

    def drop_half(self) -> int:
        """Forget the older half; how many those are."""
        half = len(self.times) // 2
        if half:
            self.since = self.times[half]
            del self.times[:half]
        return half


class MappingChanges(Generic[F]):
    """When one process mapped code where. Times are CLOCK_MONOTONIC, in nanoseconds."""

    def __init__(self) -> None:
        """Nothing has changed yet."""
        self._ranges: dict[tuple[int, int], _Range] = {}
        self._everywhere = _Range()
        self._count = 0
        self._files: dict[int, tuple[Mapping, F]] = {}
        self._anonymous: dict[tuple[int, int], Mapping] = {}
        self._unseen: list[int] = []
        self._seen_from = 0
        self._places: tuple[Array, Array, list[_Range]] | None = None

    def add(self, start: int, end: int, time: int) -> None:
        """Something was mapped to these addresses then."""
        key = start, end
        if key not in self._ranges:
            if len(self._ranges) >= _RANGES:
                key = start >> _WIDER << _WIDER, min(-(-end >> _WIDER) << _WIDER, _LAST)
            self._ranges.setdefault(key, _Range())
            self._places = None
        self._add(self._ranges[key], time)

    def add_everywhere(self, time: int) -> None:
        """All was mapped anew then."""
        self._add(self._everywhere, time)

    def _add(self, changed: _Range, time: int) -> None:
        insort(changed.times, time)
        self._count += 1
        while self._count > _TIMES:
            dropped = sum(one.drop_half() for one in (*self._ranges.values(), self._everywhere))
            self._count -= dropped
            if not dropped:  # each is the only one of its range
                break

    @property
    def executed(self) -> bool:
        """Whether all that the program has mapped is known, from its beginning."""
        return bool(self._everywhere.times)

    def add_mapping(self, mapping: Mapping, file: F | None, time: int) -> None:
        """This was mapped then, from that ``file``; None where there is none, or it could not be found."""
        self.add(mapping.start, mapping.end, time)
        if file is not None:
            self._files[time] = mapping, file
            if len(self._files) > _FILES:
                del self._files[next(iter(self._files))]
        elif not mapping.inode and (mapping.start, mapping.end) in self._ranges:
            self._anonymous[mapping.start, mapping.end] = mapping

    def mark_unseen(self, time: int) -> None:
        """The change at that time raised no generation: who has an older one may have been there after it."""
        insort(self._unseen, time)
        if len(self._unseen) > _TIMES:
            self._seen_from = self._unseen[_TIMES // 2]
            del self._unseen[: _TIMES // 2]

    def span(self, address: int, generation: int, breaks: Sequence[int]) -> Span:
        """The span of an address at the time of a generation (0: not known). ``breaks`` are times, in their
        order: between the first and the second, the third and the fourth, ... anything may have changed."""
        touching = [*self._touching(address), self._everywhere]
        times = sorted([time for changed in touching for time in changed.times] + list(breaks))
        since = max(changed.since for changed in touching)
        at = bisect_right(times, generation)
        begin, end = times[at - 1] if at else 0, times[at] if at < len(times) else _END
        at = bisect_left(self._unseen, end)
        unseen = end < self._seen_from or self._unseen[at : at + 1] == [end]
        lost = generation < since or (not generation and bool(times))
        lost = lost or bisect_right(breaks, generation) % 2 == 1
        return Span(begin, end, not lost and not unseen, times)

    def born(self, address: int, time: int) -> tuple[Mapping, F | None] | None:
        """What was mapped to an address by the change at that time; None where that was not recorded."""
        if time in self._files:
            mapping, file = self._files[time]
            return (mapping, file) if mapping.start <= address < mapping.end else None
        for (start, end), mapping in self._anonymous.items():
            if start <= address < end and time in self._ranges[start, end].times:
                return mapping, None
        return None

    def touches(self, address: int) -> bool:
        """Whether anything was ever mapped to an address."""
        return bool(self._touching(address))

    def bounds(self) -> Array:
        """Where ranges that changed begin and end, uint64."""
        return np.array([at for key in self._ranges for at in key], np.uint64)

    def _touching(self, address: int) -> list[_Range]:
        if self._places is None:
            keys = np.array(list(self._ranges), np.uint64).reshape(-1, 2)
            self._places = keys[:, 0], keys[:, 1], list(self._ranges.values())
        starts, ends, ranges = self._places
        return [ranges[at] for at in np.flatnonzero((starts <= address) & (address < ends)).tolist()]


class MappingReadings(Generic[F]):
    """What the memory map of one program showed, whenever it was read."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._begun: list[int] = []
        self._ended: list[int] = []
        self._generations: list[int] = []
        # Of each mapping the readings that showed it: [first, last], the last None as long as they go on.
        self._runs: dict[tuple[Mapping, F | None], list[list[int | None]]] = {}
        self._current: set[tuple[Mapping, F | None]] = set()
        self._places: tuple[Array, Array, list[tuple[Mapping, F | None]]] | None = None

    def __len__(self) -> int:
        return len(self._begun)

    @property
    def current(self) -> Sequence[Mapping]:
        """What the last reading showed."""
        return [mapping for mapping, _ in self._current]

    def add(
        self,
        begun: int,
        ended: int,
        generation: int,
        found: Sequence[tuple[Mapping, F | None]] | None,
    ) -> None:
        """A reading between these times showed these mappings with their files; None: those of the last one.
        ``generation`` is that of the process before and after it; 0 where that is not known, or changed."""
        number = len(self)
        self._begun.append(begun)
        self._ended.append(ended)
        self._generations.append(generation)
        if found is None:
            return
        present = set(found)
        for gone in self._current - present:
            self._runs[gone][-1][1] = number - 1
        for new in present - self._current:
            self._runs.setdefault(new, []).append([number, None])
        self._current, self._places = present, None

    def count_new(self, found: Sequence[tuple[Mapping, F | None]]) -> int:
        """How many of these mappings no reading has shown yet."""
        return sum(key not in self._runs for key in found)

    def at(self, address: int, span: Span, generation: int) -> list[tuple[Mapping, F | None]]:
        """The different mappings that readings within a span showed at an address; with a ``generation``,
        only those of it."""
        first = bisect_left(self._begun, span.begin)
        last = bisect_left(self._ended, span.end) - 1
        if generation:
            those = [n for n in range(first, last + 1) if self._generations[n] == generation]
            first, last = (those[0], those[-1]) if those else (0, -1)
        found: dict[Any, tuple[Mapping, F | None]] = {}
        if last < first:
            return []
        for key in self._touching(address):
            mapping, file = key
            if any(self._shows(run, first, last, span) for run in self._runs[key]):
                found[mapping.start - mapping.offset, mapping.device, mapping.inode, file] = key
        return list(found.values())

    def _shows(self, run: list[int | None], first: int, last: int, span: Span) -> bool:
        """Whether a run of readings has one from the ``first`` to the ``last``, and its file is right: it was
        found by the address, at the first reading, and no other was mapped there meanwhile."""
        start, end = run
        assert start is not None
        if start > last or (end is not None and end < first):
            return False
        at = bisect_left(span.times, self._begun[start])
        return at == len(span.times) or span.times[at] > self._ended[start]

    def latest(self, address: int) -> tuple[Mapping, F | None] | None:
        """What the latest reading that showed anything at an address showed there."""
        shown = self._touching(address)
        if not shown:
            return None
        return max(shown, key=lambda key: len(self) if (last := self._runs[key][-1][1]) is None else last)

    def touches(self, address: int) -> bool:
        """Whether a reading showed anything at an address."""
        return bool(self._touching(address))

    def bounds(self) -> Array:
        """Where mappings begin and end, uint64."""
        return np.array([at for mapping, _ in self._runs for at in (mapping.start, mapping.end)], np.uint64)

    def _touching(self, address: int) -> list[tuple[Mapping, F | None]]:
        if self._places is None:
            keys = list(self._runs)
            self._places = (
                np.array([mapping.start for mapping, _ in keys], np.uint64),
                np.array([mapping.end for mapping, _ in keys], np.uint64),
                keys,
            )
        starts, ends, keys = self._places
        return [keys[at] for at in np.flatnonzero((starts <= address) & (address < ends)).tolist()]
