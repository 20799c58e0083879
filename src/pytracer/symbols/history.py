"""The history of a process's mappings, since addresses are reused.

It has two sources. The kernel records each mapping with code as it is made, with its time
(:class:`MappingChanges`). And /proc/PID/maps is read now and then (:class:`MappingReadings`): it also shows
what was mapped before the trace, but only for one moment. A reading is valid for an address from the last
change that touches the address to the next.

See "Generations" in docs/internals.md.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from pytracer.arrays import Array, np
from pytracer.symbols.memory_maps import Mapping

UNLOADED = "[unloaded]"
"""An address that had several mappings, or functions of a JIT, over time, where it is not known which of
them it had when the sample was taken."""
_END = 1 << 64
_LAST = (1 << 64) - 1  # no code is mapped there
_TIMES = 1 << 16  # changes that are kept of one process: of older ones it is only known that there were some
_RANGES = 4096  # distinct ranges of one process: further ones are merged, and are less precise
_WIDER = 30  # bits of addresses that are then left out
_FILES = 4096  # mappings of files that are remembered as they were made

F = TypeVar("F")


def add_interval(bounds: list[int], begin: int, end: int) -> None:
    """Add an interval to a list of the ends of disjoint ones, ascending; what overlaps becomes one."""
    first, last = bisect_left(bounds, begin), bisect_right(bounds, end)
    bounds[first:last] = [begin] * (first % 2 == 0) + [end] * (last % 2 == 0)


class Span(NamedTuple):
    """The changes ``begin`` (0: none) and ``end`` between which no change touched an address; ``known`` is
    False if that cannot be determined. ``times`` are those of all changes that touched it, ascending."""

    begin: int
    end: int
    known: bool
    times: Sequence[int] = ()


class _Range:
    """The times at which a range of addresses was mapped; older times than ``since`` were forgotten."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.since = 0

    def drop_half(self) -> int:
        """Discard the older half of the times. Returns how many were discarded."""
        middle = len(self.times) // 2
        if middle:
            self.since = self.times[middle]
            del self.times[:middle]
        return middle


class MappingChanges(Generic[F]):
    """The changes of one process's code mappings. Times are CLOCK_MONOTONIC, in nanoseconds."""

    def __init__(self) -> None:
        """Start without changes."""
        self._ranges: dict[tuple[int, int], _Range] = {}
        self._everywhere = _Range()
        self._count = 0
        self._files: dict[int, tuple[Mapping, F]] = {}
        self._anonymous: dict[tuple[int, int], Mapping] = {}
        self._unseen: list[int] = []
        self._seen_from = 0
        self._moves: list[int] = []
        self._places: tuple[Array, Array, list[_Range]] | None = None

    def add(self, start: int, end: int, time: int) -> None:
        """Record that something was mapped to these addresses at ``time``."""
        key = start, end
        if key not in self._ranges:
            if len(self._ranges) >= _RANGES:
                key = start >> _WIDER << _WIDER, min(-(-end >> _WIDER) << _WIDER, _LAST)
            self._ranges.setdefault(key, _Range())
            self._places = None
        self._add(self._ranges[key], time)

    def add_everywhere(self, time: int) -> None:
        """Record that all mappings were replaced at ``time`` (execve)."""
        self._add(self._everywhere, time)

    def _add(self, changed: _Range, time: int) -> None:
        insort(changed.times, time)
        self._count += 1
        while self._count > _TIMES:
            dropped = sum(changes.drop_half() for changes in (*self._ranges.values(), self._everywhere))
            self._count -= dropped
            if not dropped:  # each is the only one of its range
                break

    @property
    def executed(self) -> bool:
        """True if all mappings of the program are known, from its execve on."""
        return bool(self._everywhere.times)

    def add_mapping(self, mapping: Mapping, file: F | None, time: int) -> None:
        """Add a mapping that was made at ``time``, of ``file``; None if it has no file, or it was not
        found."""
        self.add(mapping.start, mapping.end, time)
        if file is not None:
            self._files[time] = mapping, file
            if len(self._files) > _FILES:
                del self._files[next(iter(self._files))]
        elif not mapping.inode and (mapping.start, mapping.end) in self._ranges:
            self._anonymous[mapping.start, mapping.end] = mapping

    def mark_unseen(self, time: int) -> None:
        """Record that the change at this time raised no generation, so an older generation may be of a later
        time."""
        insort(self._unseen, time)
        if len(self._unseen) > _TIMES:
            self._seen_from = self._unseen[_TIMES // 2]
            del self._unseen[: _TIMES // 2]

    def add_move(self, begin: int, end: int) -> None:
        """Record that code moved to other addresses between the two times, the last time at ``end``."""
        add_interval(self._moves, begin, end)
        if len(self._moves) > _TIMES:
            del self._moves[1 : _TIMES // 2 + 1]  # the oldest become one

    def span(self, address: int, generation: int, breaks: Sequence[int]) -> Span:
        """Return the span of an address at the time of a generation (0: not known). ``breaks`` are times, in
        their order: between the first and the second, the third and the fourth, ... anything may have
        changed."""
        ranges = [*self._find_ranges(address), self._everywhere]
        times = sorted([*(time for changed in ranges for time in changed.times), *breaks, *self._moves])
        last_begin = max(changed.since for changed in ranges)
        index = bisect_right(times, generation)
        begin, end = times[index - 1] if index else 0, times[index] if index < len(times) else _END
        index = bisect_left(self._unseen, end)
        unseen = end < self._seen_from or self._unseen[index : index + 1] == [end]
        is_lost = generation < last_begin or (not generation and bool(times))
        is_lost = is_lost or any(
            bisect_right(boundaries, generation) % 2 == 1 for boundaries in (breaks, self._moves)
        )
        return Span(begin, end, not is_lost and not unseen, times)

    def mapping_made_at(self, address: int, time: int) -> tuple[Mapping, F | None] | None:
        """Return the mapping at an address that the change at ``time`` made; None if it was not recorded."""
        if time in self._files:
            mapping, file = self._files[time]
            return (mapping, file) if mapping.start <= address < mapping.end else None
        for (start, end), mapping in self._anonymous.items():
            if start <= address < end and time in self._ranges[start, end].times:
                return mapping, None
        return None

    def touches(self, address: int) -> bool:
        """Return whether any recorded change mapped an address."""
        return bool(self._find_ranges(address))

    def bounds(self) -> Array:
        """Return the begin and end addresses of the ranges that changed, uint64."""
        return np.array([address for key in self._ranges for address in key], np.uint64)

    def _find_ranges(self, address: int) -> list[_Range]:
        if self._places is None:
            keys = np.array(list(self._ranges), np.uint64).reshape(-1, 2)
            self._places = keys[:, 0], keys[:, 1], list(self._ranges.values())
        starts, end_addresses, ranges = self._places
        return [
            ranges[index]
            for index in np.flatnonzero((starts <= address) & (address < end_addresses)).tolist()
        ]


class MappingReadings(Generic[F]):
    """The mappings of one program as /proc/PID/maps showed them, over all readings."""

    def __init__(self) -> None:
        """Start without readings."""
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
        """The mappings in the last reading."""
        return [mapping for mapping, _ in self._current]

    def add(
        self,
        begin: int,
        end: int,
        generation: int,
        mappings: Sequence[tuple[Mapping, F | None]] | None,
    ) -> None:
        """Add a reading that was made from ``begin`` to ``end``: the mappings with their files, or None
        if they are the same as in the last one. ``generation`` is the process's before and after the
        reading; 0 if it is unknown, or changed meanwhile."""
        number = len(self)
        self._begun.append(begin)
        self._ended.append(end)
        self._generations.append(generation)
        if mappings is None:
            return
        present = set(mappings)
        for mapping in self._current - present:
            self._runs[mapping][-1][1] = number - 1
        for new in present - self._current:
            self._runs.setdefault(new, []).append([number, None])
        self._current, self._places = present, None

    def count_new(self, mappings: Sequence[tuple[Mapping, F | None]]) -> int:
        """Count the mappings that no reading has shown yet."""
        return sum(key not in self._runs for key in mappings)

    def at(self, address: int, span: Span, generation: int) -> list[tuple[Mapping, F | None]]:
        """Return the different mappings that readings within a span showed at an address; with a
        ``generation``, only those of it."""
        first = bisect_left(self._begun, span.begin)
        last = bisect_left(self._ended, span.end) - 1
        if generation:
            those = [n for n in range(first, last + 1) if self._generations[n] == generation]
            first, last = (those[0], those[-1]) if those else (0, -1)
        by_place: dict[Any, tuple[Mapping, F | None]] = {}
        if last < first:
            return []
        for key in self._find_ranges(address):
            mapping, file = key
            if any(self._shows(run, first, last, span) for run in self._runs[key]):
                by_place[mapping.start - mapping.offset, mapping.device, mapping.inode, file] = key
        return list(by_place.values())

    def _shows(self, run: list[int | None], first: int, last: int, span: Span) -> bool:
        """Return whether a run of readings includes one from ``first`` to ``last``, and its file is the
        right one: it was opened by address at the first reading, and nothing else was mapped there
        meanwhile."""
        start, end = run
        assert start is not None
        if start > last or (end is not None and end < first):
            return False
        index = bisect_left(span.times, self._begun[start])
        return index == len(span.times) or span.times[index] > self._ended[start]

    def latest(self, address: int) -> tuple[Mapping, F | None] | None:
        """Return the mapping at an address in the latest reading that has one; None if no reading has."""
        readings = self._find_ranges(address)
        if not readings:
            return None
        return max(readings, key=lambda key: len(self) if (last := self._runs[key][-1][1]) is None else last)

    def touches(self, address: int) -> bool:
        """Return whether any reading has a mapping at an address."""
        return bool(self._find_ranges(address))

    def bounds(self) -> Array:
        """Return the begin and end addresses of mappings, uint64."""
        return np.array(
            [address for mapping, _ in self._runs for address in (mapping.start, mapping.end)], np.uint64
        )

    def _find_ranges(self, address: int) -> list[tuple[Mapping, F | None]]:
        if self._places is None:
            keys = list(self._runs)
            self._places = (
                np.array([mapping.start for mapping, _ in keys], np.uint64),
                np.array([mapping.end for mapping, _ in keys], np.uint64),
                keys,
            )
        starts, end_addresses, keys = self._places
        return [
            keys[index] for index in np.flatnonzero((starts <= address) & (address < end_addresses)).tolist()
        ]
