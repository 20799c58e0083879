"""Timelines as Chrome's trace events, which Perfetto's viewer (https://ui.perfetto.dev) and others read.

It is a list of objects, one a line: ``X`` is a slice with a begin and a duration, ``i`` an instant, ``C`` a
counter, ``s`` and ``f`` the ends of a flow, ``M`` the name of a thread. Times are microseconds, here with
three decimals: nanoseconds.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

from pytracer.sinks.timeline import MACHINE, Track
from pytracer.spec import Column

_LANE = 1 << 22  # above all process ids of Linux: further lanes of a thread have such numbers
_CPUS = 1 << 30  # the "process" whose threads are the CPUs


class ChromeWriter:
    """Writes a timeline as JSON, in ASCII."""

    def __init__(self, stream: TextIO) -> None:
        """Create the writer."""
        self._stream, self._category = stream, ""
        self._names: dict[Track, str] = {}
        self._begun = False

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
        for track, name in self._names.items():
            self._write(self._event(track, "thread_name", "M") | {"args": {"name": name}})
        if any(track.cpu >= 0 for track in self._names):
            cpus = {"name": "process_name", "ph": "M", "pid": _CPUS, "args": {"name": "CPUs"}}
            self._write(cpus)
        self._stream.write("\n]\n")
        self._stream.flush()

    def _event(self, track: Track, name: str, phase: str) -> dict[str, Any]:
        pid, tid = (track.pid, track.tid) if track.cpu < 0 else (_CPUS, track.cpu)
        tid += track.lane * _LANE
        return {"name": name, "cat": self._category, "ph": phase, "pid": pid, "tid": tid}

    def _write(self, event: dict[str, Any], time: int | None = None, span: int | None = None) -> None:
        text = json.dumps(event)[:-1]
        text += "" if time is None else f', "ts": {_microseconds(time)}'
        text += "" if span is None else f', "dur": {_microseconds(span)}'
        self._stream.write((",\n" if self._begun else "") + text + "}")
        self._begun = True


def _microseconds(nanoseconds: int) -> str:
    """Write a time exactly: a float would round it."""
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03}"
