"""Results on a timeline: slices and instants by thread and CPU, counters, and flows from cause to effect.

What is where follows from the declared columns; formats only write it (:class:`TimelineWriter`).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol

from pytracer.model import Batch, Item, Loss, Schema, Snapshot
from pytracer.model.tabular import nanoseconds_of
from pytracer.sinks.json import records
from pytracer.sinks.timeline_lanes import Lanes, Pairs
from pytracer.spec import Column, Unit

_NO_NAMES = ("comm", "err", "flags", "error", "returned", "result", "waker_comm")
_TRACKS_MAX = 100_000  # threads whose names are known, and counters
_VALUE = re.compile(r"(\w+)=")
_TARGET = "target"  # the decoder of columns that name the probe


class Track(NamedTuple):  # no record: it is looked up for each event
    """The track of a thread, or of a CPU (``cpu`` is not -1). Slices that overlap those of lane 0 without
    nesting are in further lanes, which formats show as tracks of their own."""

    pid: int
    tid: int
    cpu: int = -1
    lane: int = 0


MACHINE = Track(0, 0)
"""The track of what belongs to no thread."""


class TimelineWriter(Protocol):
    """A format. Times are nanoseconds since the epoch."""

    def begin(self, tracer: str) -> None:
        """Write the header."""
        ...

    def name(self, track: Track, name: str) -> None:
        """Name or rename a track."""
        ...

    def slice(self, track: Track, times: tuple[int, int], name: str, args: dict[str, Any], flow: int) -> None:
        """Write a slice from the first of ``times`` to the second, at which ``flow`` (0: none) ends."""
        ...

    def instant(self, track: Track, time: int, name: str, args: dict[str, Any], flow: int = 0) -> None:
        """Write an instant, at which ``flow`` (0: none) begins."""
        ...

    def counter(self, name: str, column: Column, time: int, value: int) -> None:
        """Write the value of a counter."""
        ...

    def flush(self) -> None:
        """Pass on complete events."""
        ...

    def end(self) -> None:
        """Write the trailer."""
        ...


class TimelineSink:
    """Puts events on the tracks of their threads.

    An event with times, such as a latency, is a slice for each of them: one follows the other, and the last
    ends when the event happened. Events of probes that come in pairs, such as ``sys_enter`` and ``sys_exit``,
    are slices from one to the other. Others are instants. Rows of tables are counters.
    """

    def __init__(self, writer: TimelineWriter) -> None:
        """Write by ``writer``."""
        self._writer = writer
        self._tracer = ""
        self._schema: Schema | None = None
        self._times: tuple[Column, ...] = ()
        self._name = ""  # the column that says what something is called
        self._probe = ""  # the column of the probe, if events may come in pairs
        self._names: dict[Track, str] = {}
        self._lanes, self._pairs = Lanes(), Pairs()
        self._counters: set[str] = set()
        self._flows = 0

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._schema, self._tracer = schema, schema.tracer
        names = [column.name for column in schema.columns if column.is_text and column.name not in _NO_NAMES]
        self._name = names[0] if names else ""
        if schema.is_stream:
            self._times = tuple(column for column in schema.columns if column.unit is Unit.NANOSECONDS)
            targets = [column.name for column in schema.columns if column.decode == _TARGET]
            self._probe = "" if self._times or not targets else targets[0]
        self._writer.begin(schema.tracer)

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if isinstance(item, Loss):
            self._writer.instant(MACHINE, nanoseconds_of(item.time), f"lost: {item.lost} {item.meaning}", {})
        elif isinstance(item, Batch):
            for time, fields in records(item, ""):
                del fields["kind"]
                self._add_event(time, fields)
        elif isinstance(item, Snapshot) and item.kind == "row":
            self._add_counters(item)
        self._writer.flush()

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        for begin_row in self._pairs.iter_unended():
            self._writer.instant(begin_row.thread, begin_row.time, begin_row.name, begin_row.args)
        if self._schema is not None:
            self._writer.end()
        self._schema = None

    def _add_event(self, time: int, fields: dict[str, Any]) -> None:
        pid = fields.get("pid") or fields.get("tid") or 0
        track = Track(pid, fields.get("tid") or pid)
        self._call(track, fields.get("comm"))
        name = str(fields.get(self._name) or self._tracer)
        if self._probe:
            self._add_half(track, time, fields)
        elif all(fields[column.name] is None for column in self._times):
            self._writer.instant(track, time, name, fields)
        else:
            self._add_times(track, time, name, fields)

    def _add_times(self, track: Track, end: int, name: str, fields: dict[str, Any]) -> None:
        """Add a slice for each time of an event."""
        time_columns = [column for column in self._times if fields[column.name] is not None]
        begin = end - sum(fields[column.name] for column in time_columns)
        for column in time_columns:
            times = begin, begin + fields[column.name]
            label = self._time_name(column, name)
            flow = self._add_cause(begin, fields) if column.on_cpu else 0
            self._add_slice(track, times, label, fields, flow)
            if column.on_cpu:
                cpu = Track(0, 0, fields["cpu"])
                self._call(cpu, f"CPU {fields['cpu']}")
                self._add_slice(cpu, times, self._names.get(track, label), fields)
            begin = times[1]

    def _time_name(self, column: Column, name: str) -> str:
        """Return the name of a slice: of events with several times, the name of the time column."""
        if len(self._times) == 1:
            return name
        stem = column.name.removesuffix("_ns")
        return f"{name}: {stem}" if self._name else stem

    def _add_cause(self, begin: int, fields: dict[str, Any]) -> int:
        """Add the slice of the cause at its time; return the flow from there."""
        waker = fields.get("waker_tid")
        if waker is None or fields.get("wait_ns") is None:
            return 0
        self._flows += 1
        track = Track(fields.get("waker_pid") or waker, waker)
        self._call(track, fields.get("waker_comm"))
        label = f"wakes {fields.get('comm')}"
        self._writer.instant(track, begin - fields["wait_ns"], label, {}, self._flows)
        return self._flows

    def _add_half(self, track: Track, time: int, fields: dict[str, Any]) -> None:
        text = str(fields.get("text") or "")
        if (first := _VALUE.match(text)) and {first[1], f"arg:{first[1]}"} & fields.keys():
            text = ""  # values by name, which the arguments have: slices of one kind have one name
        for slice_ in self._pairs.add(track, str(fields[self._probe]), time, text, fields):
            if slice_.end is None:
                self._writer.instant(slice_.thread, slice_.time, slice_.name, slice_.args)
            else:
                self._add_slice(slice_.thread, (slice_.time, slice_.end), slice_.name, slice_.args)

    def _add_slice(
        self, track: Track, times: tuple[int, int], name: str, args: dict[str, Any], flow: int = 0
    ) -> None:
        lane = self._lanes.find(track, times)
        if lane:
            first, track = track, Track(track.pid, track.tid, track.cpu, lane)
            self._call(track, f"{self._names.get(first, self._tracer)} ({lane + 1})")
        self._writer.slice(track, times, name, args, flow)

    def _call(self, track: Track, name: str | None) -> None:
        """Name a track, unless it has this name already."""
        previous = self._names.get(track)
        if name and track != MACHINE and previous != name and (previous or len(self._names) < _TRACKS_MAX):
            self._names[track] = name
            self._writer.name(track, name)

    def _add_counters(self, item: Snapshot) -> None:
        assert self._schema is not None
        time = nanoseconds_of(item.time)
        keys = [column.name for column in self._schema.keys]
        for row in item.value_rows():
            labels = " ".join(str(row[key]) for key in keys if row.get(key) is not None)
            for column in self._schema.values:
                value, name = row.get(column.name), f"{labels} {column.name}".strip()
                if column.last or not isinstance(value, int):
                    continue
                if len(self._counters) < _TRACKS_MAX:
                    self._counters.add(name)
                if name in self._counters:
                    self._writer.counter(name, column, time, value)
