"""Read timelines back: Chrome's JSON, and Perfetto's messages by the schema that Perfetto publishes."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

from pytracer.sinks import make_sink

FORMATS = ("chrome", "perfetto")


@dataclass
class Timeline:
    """A timeline as a reader sees it: rows are (pid, tid) or names, times are nanoseconds."""

    slices: list[tuple[Any, int, int, str]] = field(default_factory=list)
    instants: list[tuple[Any, int, str]] = field(default_factory=list)
    counters: list[tuple[str, int, int]] = field(default_factory=list)
    flows: list[tuple[Any, int, Any, int]] = field(default_factory=list)
    names: dict[Any, str] = field(default_factory=dict)
    args: list[dict[str, Any]] = field(default_factory=list)


class Stream(io.TextIOWrapper):
    """A text stream in memory."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def content(self) -> bytes:
        self.flush()
        return self.buffer.getvalue()


def write_items(form: str, schema: Any, *items: Any) -> bytes:
    """Return a format's output for items."""
    stream = Stream()
    sink = make_sink(form, stream, timestamps=False, terminal=False)
    sink.open(schema)
    for item in items:
        sink.emit(item)
    sink.close()
    return stream.content()


def timeline(form: str, schema: Any, *items: Any) -> Timeline:
    """Write items in a format, and read it."""
    return read(write_items(form, schema, *items))


def read(content: bytes) -> Timeline:
    """Read either format; slices are in the order of their ends."""
    timeline = read_chrome(content) if content[:1] == b"[" else read_perfetto(content)
    for part in (timeline.slices, timeline.instants, timeline.counters, timeline.flows):
        part.sort(key=repr)
    return timeline


def read_chrome(content: bytes) -> Timeline:
    assert content.isascii()
    timeline, start, origin = Timeline(), {}, 0
    for event in json.loads(content):
        track, name = (event["pid"], event.get("tid")), event["name"]
        time = round(event["ts"] * 1000) + origin if "ts" in event else None
        if name == "time_origin":
            assert (event["ph"], origin, event["args"]["unix_ns"] % 86_400_000_000_000) == ("M", 0, 0)
            origin = event["args"]["unix_ns"]
        elif name == "process_name":
            assert track[0] == 1 << 30 or event["args"]["name"] == timeline.names[track[0], track[0]]
        elif event["ph"] == "M":
            timeline.names[track] = event["args"]["name"]
        elif event["ph"] == "X":
            timeline.slices.append((track, time, time + round(event["dur"] * 1000), name))
            timeline.args.append(event["args"])
        elif event["ph"] == "i":
            timeline.instants.append((track, time, name))
            timeline.args.append(event["args"])
        elif event["ph"] == "C":
            timeline.counters.append((name, time, *event["args"].values()))
        elif event["ph"] == "s":
            start[event["id"]] = (track, time)
        else:
            timeline.flows.append((*start[event["id"]], track, time))
    return timeline


def read_perfetto(content: bytes) -> Timeline:
    """Read as a trace processor does: packets by time, and an end is that of the slice begun last."""
    trace = Trace()
    trace.ParseFromString(content)
    trace.DiscardUnknownFields()
    assert trace.ByteSize() == len(content), "fields that the schema does not have"
    timeline, tracks, units = Timeline(), {}, {}
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            is_thread = track.HasField("thread")
            tracks[track.uuid] = (track.thread.pid, track.thread.tid) if is_thread else track.name
            if track.HasField("counter"):
                units[track.uuid] = track.counter.unit
            if is_thread and track.thread.thread_name:
                timeline.names[tracks[track.uuid]] = track.thread.thread_name
    events = [packet for packet in trace.packet if packet.HasField("track_event")]
    open_slices, start = {}, {}
    for packet in sorted(events, key=lambda packet: packet.timestamp):  # stable
        event, time = packet.track_event, packet.timestamp
        track = tracks[event.track_uuid]
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            open_slices.setdefault(track, []).append((time, event))
        elif event.type == TrackEvent.TYPE_SLICE_END:
            begin, first = open_slices[track].pop()
            timeline.slices.append((track, begin, time, first.name))
        elif event.type == TrackEvent.TYPE_INSTANT:
            timeline.instants.append((track, time, event.name))
        else:
            timeline.counters.append((track, time, event.counter_value))
        for flow in event.flow_ids:
            start[flow] = (track, time)
        for flow in event.terminating_flow_ids:
            timeline.flows.append((*start[flow], track, time))
        if event.type in (TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_INSTANT):
            timeline.args.append({a.name: _value(a) for a in event.debug_annotations})
    assert not any(open_slices.values())
    return timeline


def _value(annotation: Any) -> Any:
    return getattr(annotation, annotation.WhichOneof("value"))
