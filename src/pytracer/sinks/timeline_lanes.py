"""Make slices of a timeline nest: lanes for those that overlap, and pairs of a begin and its end."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

from pytracer.record import record

_OPEN_MAX = 256  # events of a thread that wait for their end
_THREADS_MAX = 100_000
_KEPT_MAX = 4096  # slices of a lane that a later one may enclose
_BEGIN = re.compile(r"(.*?)_{1,2}(begin|start|entry|enter)((?:_.*)?)")
_END = re.compile(r"(.*?)_{1,2}(end|done|stop|exit|return|finish)((?:_.*)?)")


class Lanes:
    """Finds a lane for each slice, so that any two slices of a lane nest or are apart.

    Slices come in the order of their ends. One that ends before its predecessor goes to a further lane, and
    so does one that begins with a slice that it encloses: formats could not tell which of the two is outside.
    """

    def __init__(self) -> None:
        self._lanes: dict[Hashable, list[list[tuple[int, int]]]] = {}

    def find(self, track: Hashable, times: tuple[int, int]) -> int:
        """Return the number of the lane, from 0."""
        if track not in self._lanes and len(self._lanes) >= _THREADS_MAX:
            del self._lanes[next(iter(self._lanes))]  # the one that is longest known
        lanes = self._lanes.setdefault(track, [])
        for number, lane in enumerate(lanes):
            if _add_if_enclosed(lane, times):
                return number
        lanes.append([times])
        return len(lanes) - 1


def _add_if_enclosed(lane: list[tuple[int, int]], times: tuple[int, int]) -> bool:
    """Add a slice to a lane if it encloses the last ones there, or begins after them."""
    begin, end = times
    if end < lane[-1][1]:
        return False
    left = len(lane)
    while left and lane[left - 1][0] > begin:
        left -= 1
    if left and lane[left - 1][1] > begin:
        return False
    lane[left:] = [times]
    if len(lane) > _KEPT_MAX:  # the first ones become one, which nothing may divide
        lane[: _KEPT_MAX // 2] = [(lane[0][0], lane[_KEPT_MAX // 2 - 1][1])]
    return True


@record
class Found:
    """An event; with ``end`` the time between the two of a pair."""

    thread: Any
    time: int
    name: str
    args: dict[str, Any]
    end: int | None = None


class Pairs:
    """Joins two events of a thread, by the names of their probes: ``sys_enter`` and ``sys_exit``,
    ``gc__start`` and ``gc__done``, ``contention_begin`` and ``contention_end``."""

    def __init__(self) -> None:
        self._open: dict[Hashable, list[tuple[str, Found]]] = {}

    def add(
        self, thread: Hashable, probe: str, time: int, text: str, args: dict[str, Any]
    ) -> Iterator[Found]:
        """Add an event; yield complete ones: the pair that it ends, or the event itself if it has no
        partner."""
        source, _, event = probe.rpartition(":")
        begin_match, end_match = _BEGIN.fullmatch(event), _END.fullmatch(event)
        if begin_match:
            if thread not in self._open and len(self._open) >= _THREADS_MAX:
                yield from (unmatched for _, unmatched in self._open.pop(next(iter(self._open))))
            open_slices = self._open.setdefault(thread, [])
            if len(open_slices) >= _OPEN_MAX:
                yield open_slices.pop(0)[1]
            pair_key = begin_match[1] + begin_match[3]
            open_slices.append(
                (f"{source}:{pair_key}", Found(thread, time, f"{pair_key} {text}".strip(), args))
            )
            return
        open_slices = self._open.get(thread, [])
        end_name = f"{source}:{end_match[1]}{end_match[3]}" if end_match else ""
        index = next(
            (index for index in range(len(open_slices) - 1, -1, -1) if open_slices[index][0] == end_name),
            None,
        )
        if index is None:
            yield Found(thread, time, f"{event} {text}".strip(), args)
            return
        for _, unmatched in open_slices[index + 1 :]:
            yield unmatched
        begin_row = open_slices[index][1]
        del open_slices[index:]
        if not open_slices:
            del self._open[thread]
        end_args = {f"end_{key}": value for key, value in args.items() if begin_row.args.get(key) != value}
        yield Found(begin_row.thread, begin_row.time, begin_row.name, begin_row.args | end_args, time)

    def iter_unended(self) -> Iterator[Found]:
        """Yield events that have begun and not ended."""
        for open_slices in self._open.values():
            yield from (begin_row for _, begin_row in open_slices)
        self._open.clear()
