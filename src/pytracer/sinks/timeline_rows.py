"""Where slices of a timeline go: into rows in which they nest, and from one event of a pair to the other."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

from pytracer.record import record

_OPEN_MAX = 256  # events of a thread that wait for their end
_THREADS_MAX = 100_000
_KEPT_MAX = 4096  # slices of a row that a later one may hold
_BEGIN = re.compile(r"(.*?)_{1,2}(begin|start|entry|enter)((?:_.*)?)")
_END = re.compile(r"(.*?)_{1,2}(end|done|stop|exit|return|finish)((?:_.*)?)")


class Lanes:
    """Finds a row for each slice, so that any two of a row are one inside the other or apart.

    Slices come in the order of their ends. What ends before the one before does is on a further row, as is
    what begins at the same time as one inside it, which formats could not tell from its holder.
    """

    def __init__(self) -> None:
        self._rows: dict[Hashable, list[list[tuple[int, int]]]] = {}

    def find(self, track: Hashable, times: tuple[int, int]) -> int:
        """Return the number of the row, 0 for the first."""
        if track not in self._rows and len(self._rows) >= _THREADS_MAX:
            del self._rows[next(iter(self._rows))]  # the one that is longest known
        rows = self._rows.setdefault(track, [])
        for number, row in enumerate(rows):
            if _fits(row, times):
                return number
        rows.append([times])
        return len(rows) - 1


def _fits(row: list[tuple[int, int]], times: tuple[int, int]) -> bool:
    """Add a slice to a row if it holds the last ones there, or begins after them."""
    begin, end = times
    if end < row[-1][1]:
        return False
    left = len(row)
    while left and row[left - 1][0] > begin:
        left -= 1
    if left and row[left - 1][1] > begin:
        return False
    row[left:] = [times]
    if len(row) > _KEPT_MAX:  # the first ones become one, which nothing may divide
        row[: _KEPT_MAX // 2] = [(row[0][0], row[_KEPT_MAX // 2 - 1][1])]
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
        """Add an event; yield what is complete: the pair of which it is the end, what stays alone."""
        place, _, event = probe.rpartition(":")
        begins, ends = _BEGIN.fullmatch(event), _END.fullmatch(event)
        if begins:
            if thread not in self._open and len(self._open) >= _THREADS_MAX:
                yield from (alone for _, alone in self._open.pop(next(iter(self._open))))
            waiting = self._open.setdefault(thread, [])
            if len(waiting) >= _OPEN_MAX:
                yield waiting.pop(0)[1]
            what = begins[1] + begins[3]
            waiting.append((f"{place}:{what}", Found(thread, time, f"{what} {text}".strip(), args)))
            return
        waiting = self._open.get(thread, [])
        wanted = f"{place}:{ends[1]}{ends[3]}" if ends else ""
        at = next((at for at in range(len(waiting) - 1, -1, -1) if waiting[at][0] == wanted), None)
        if at is None:
            yield Found(thread, time, f"{event} {text}".strip(), args)
            return
        for _, alone in waiting[at + 1 :]:
            yield alone
        begun = waiting[at][1]
        del waiting[at:]
        if not waiting:
            del self._open[thread]
        more = {f"end_{key}": value for key, value in args.items() if begun.args.get(key) != value}
        yield Found(begun.thread, begun.time, begun.name, begun.args | more, time)

    def rest(self) -> Iterator[Found]:
        """Yield what has begun and not ended."""
        for waiting in self._open.values():
            yield from (begun for _, begun in waiting)
        self._open.clear()
