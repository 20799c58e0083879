"""Timelines as a message of Perfetto's trace.proto: packets of track events and of what their tracks are.

The numbers of fields are those of protos/perfetto/trace in Perfetto's sources.
"""

from __future__ import annotations

from typing import Any, TextIO

from pytracer.sinks.protobuf import field, fixed, numbers, string
from pytracer.sinks.timeline import MACHINE, Track
from pytracer.spec import Column, Unit

_BEGIN, _END, _INSTANT, _COUNTER = 1, 2, 3, 4  # TrackEvent.Type
_UNITS = {Unit.NANOSECONDS: 1, Unit.COUNT: 2, Unit.BYTES: 3}  # CounterDescriptor.Unit
_SEQUENCE, _CLEARED = 1, 1  # all packets are of one sequence, which begins here
_CPUS, _FIRST = 1, 2  # the track that holds those of the CPUs; tracks have numbers from then on


class PerfettoWriter:
    """Writes a timeline as bytes, to the stream's ``buffer``."""

    def __init__(self, stream: TextIO) -> None:
        """Create the writer."""
        self._stream = stream
        self._tracks: dict[Track | str, int] = {}

    def begin(self, tracer: str) -> None:  # noqa: ARG002 - formats with categories have it
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        self._stream.flush()
        self._packet(numbers((13, _CLEARED)))

    def name(self, track: Track, name: str) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        number = self._tracks.setdefault(track, len(self._tracks) + _FIRST)
        if track.cpu >= 0:
            self._describe(_CPUS, string(2, "CPUs"))
            self._describe(number, string(2, name) + numbers((5, _CPUS)))
        elif track.lane:
            first = self._number(Track(track.pid, track.tid))
            self._describe(number, string(2, name) + numbers((5, first)))
        else:
            self._describe(number, _encode_thread(track, name))
            if track.tid == track.pid:  # a process is called as its first thread
                process_id = self._tracks.setdefault(f"process {track.pid}", len(self._tracks) + _FIRST)
                self._describe(process_id, field(3, numbers((1, track.pid)) + string(6, name)))

    def slice(self, track: Track, times: tuple[int, int], name: str, args: dict[str, Any], flow: int) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        begin, end = times
        number = self._number(track)
        flow_field = fixed(48, flow) if flow else b""
        self._event(begin, _BEGIN, number, string(23, name) + _encode_annotations(args) + flow_field)
        self._event(end, _END, number)

    def instant(self, track: Track, time: int, name: str, args: dict[str, Any], flow: int = 0) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        flow_field = fixed(47, flow) if flow else b""
        self._event(
            time, _INSTANT, self._number(track), string(23, name) + _encode_annotations(args) + flow_field
        )

    def counter(self, name: str, column: Column, time: int, value: int) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        number = self._tracks.get(f"counter {name}")
        if number is None:
            number = self._tracks[f"counter {name}"] = len(self._tracks) + _FIRST
            unit = numbers((3, _UNITS[column.unit])) if column.unit in _UNITS else b""
            self._describe(number, string(2, name) + field(8, unit))
        self._event(time, _COUNTER, number, numbers((30, value)))

    def flush(self) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        self._stream.buffer.flush()

    def end(self) -> None:
        """See :class:`~pytracer.sinks.timeline.TimelineWriter`."""
        self._stream.buffer.flush()

    def _number(self, track: Track) -> int:
        """Return the number of a track, which is described before its first event."""
        if track not in self._tracks:
            self._tracks[track] = len(self._tracks) + _FIRST
            name_field = string(2, "all" if track == MACHINE else f"{track.tid}")
            self._describe(self._tracks[track], _encode_thread(track, "") if track.pid else name_field)
        return self._tracks[track]

    def _describe(self, number: int, content: bytes) -> None:
        self._packet(field(60, numbers((1, number)) + content))

    def _event(self, time: int, kind: int, track: int, content: bytes = b"") -> None:
        self._packet(numbers((8, time)) + field(11, numbers((9, kind), (11, track)) + content))

    def _packet(self, content: bytes) -> None:
        self._stream.buffer.write(field(1, content + numbers((10, _SEQUENCE))))


def _encode_thread(track: Track, name: str) -> bytes:
    return field(4, numbers((1, track.pid), (2, track.tid)) + (string(5, name) if name else b""))


def _encode_annotations(args: dict[str, Any]) -> bytes:
    """Return the values of an event: numbers, and text for all else; none for null."""
    parts = list[bytes]()
    for name, value in args.items():
        if value is None:
            continue
        if isinstance(value, int):
            content = numbers((4 if value < 1 << 63 else 3, value))
        else:
            content = string(6, value if isinstance(value, str) else str(value))
        parts.append(field(4, string(10, name) + content))
    return b"".join(parts)
