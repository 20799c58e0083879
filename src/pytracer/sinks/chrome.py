"""Timelines as Chrome's trace events, which Perfetto's viewer (https://ui.perfetto.dev) and others read.

It is a list of objects, one a line: ``X`` is a slice with a begin and a duration, ``i`` an instant, ``C`` a
counter, ``s`` and ``f`` the ends of a flow, ``M`` the name of a thread. Times are microseconds. Readers take
them as doubles, and nest slices by sums and differences of them: a slice that seems to end after the next one
on its thread has begun is outside of all that follow. So times count from midnight (UTC) before the first
event, in fractions that doubles hold exactly; an ``M`` called ``time_origin`` has that time as ``unix_ns``.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

from pytracer.sinks.timeline import MACHINE, Track
from pytracer.spec import Column

_LANE = 1 << 22  # above all process ids of Linux: further lanes of a thread have such numbers
_CPUS = 1 << 30  # the "process" whose threads are the CPUs
_DAY = 86_400_000_000_000  # nanoseconds


class ChromeWriter:
    """Writes a timeline as JSON, in ASCII."""

    def __init__(self, stream: TextIO) -> None:
        """Create the writer."""
        self._stream, self._category = stream, ""
        self._names: dict[Track, str] = {}
        self._begun = False
        self._origin = -1

    def begin(self, tracer: str) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        self._category = tracer
        self._stream.write("[\n")

    def name(self, track: Track, name: str) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`; names are written last."""
        self._names[track] = name

    def slice(self, track: Track, times: tuple[int, int], name: str, args: dict[str, Any], flow: int) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        begin, end = times
        self._write(self._event(track, name, "X") | {"args": args}, begin, end - begin)
        if flow:
            self._write(self._event(track, "wakes", "f") | {"bp": "e", "id": flow}, begin)

    def instant(self, track: Track, time: int, name: str, args: dict[str, Any], flow: int = 0) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        if flow:  # a flow begins in a slice, be it an empty one
            self._write(self._event(track, name, "X") | {"args": args}, time, 0)
            self._write(self._event(track, "wakes", "s") | {"id": flow}, time)
            return
        scope = {"s": "g" if track == MACHINE else "t"}
        self._write(self._event(track, name, "i") | scope | {"args": args}, time)

    def counter(self, name: str, column: Column, time: int, value: int) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        self._write(self._event(MACHINE, name, "C") | {"args": {column.name: value}}, time)

    def flush(self) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        self._stream.flush()

    def end(self) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        processes = {_CPUS: "CPUs"} if any(track.cpu >= 0 for track in self._names) else {}
        for track, name in self._names.items():
            self._write(self._event(track, "thread_name", "M") | {"args": {"name": name}})
            if track.cpu < 0 and track.pid == track.tid and not track.lane:
                processes[track.pid] = name  # a process is called as its first thread
        for pid, name in processes.items():
            self._write({"name": "process_name", "ph": "M", "pid": pid, "args": {"name": name}})
        self._stream.write("\n]\n")
        self._stream.flush()

    def _event(self, track: Track, name: str, phase: str) -> dict[str, Any]:
        pid, tid = (track.pid, track.tid) if track.cpu < 0 else (_CPUS, track.cpu)
        tid += track.lane * _LANE
        return {"name": name, "cat": self._category, "ph": phase, "pid": pid, "tid": tid}

    def _write(self, event: dict[str, Any], time: int | None = None, span: int | None = None) -> None:
        if time is not None and self._origin < 0:
            self._origin = time // _DAY * _DAY
            self._write({"name": "time_origin", "ph": "M", "pid": 0, "args": {"unix_ns": self._origin}})
        if time is not None:
            event["ts"] = begin = _to_microseconds(time - self._origin)
            if span is not None:
                event["dur"] = _to_microseconds(time - self._origin + span) - begin
        self._stream.write((",\n" if self._begun else "") + json.dumps(event))
        self._begun = True


def _to_microseconds(nanoseconds: int) -> float:
    """Return the first multiple of 1/2048 us that is not before a time. Sums and differences of such
    numbers are exact in doubles for 50 days, and rounding them to nanoseconds returns the time."""
    return -(-nanoseconds * 256 // 125) / 2048
