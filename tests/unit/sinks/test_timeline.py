"""Events on a timeline: slices and instants at their exact times, by thread."""

from __future__ import annotations

import io
import json

import numpy as np

from pytracer.enrich import decoders
from pytracer.enrich.event_batches import EventDecoder
from pytracer.model import Batch, Loss
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.sinks import make_sink
from pytracer.spec import registry
from support.fake_kernel import FakeKernel

NOON = 1_699_963_200_250_000_000


def happened(tracer, *rows):
    schema = make_plan(Request(registry.get(tracer)), FakeKernel()).schema
    kinds = [(column.source, "S64" if column.decode == "text" else "i8") for column in schema.columns]
    records = np.array([(number, *row) for number, row in enumerate(rows)], [("ns", "u8"), *kinds])
    made = EventDecoder(schema, decoders({})).batch(records)
    return schema, Batch(made.names, made.records, records["ns"].astype("i8") + NOON, made.read)


def shown(schema, *items):
    stream = io.StringIO()
    sink = make_sink("chrome", stream, timestamps=False, terminal=False)
    sink.open(schema)
    for item in items:
        sink.emit(item)
    sink.close()
    text = stream.getvalue()
    assert text.isascii()
    return json.loads(text), text


def test_events_without_a_time_are_instants():
    schema, batch = happened("opensnoop", (7, b"ls", 3, 0, 0, b"/etc/a\x1b\n"), (8, b"sh", 3, 0, 0, b"b"))
    lost = Loss("ring_full", 23, "events that found the ring full", NOON / 1e9)
    events, text = shown(schema, batch, lost)
    first, second, gone, *names = events
    assert (first["ph"], first["name"], first["cat"], first["pid"], first["tid"]) == (
        "i",
        first["args"]["path"],
        "opensnoop",
        7,
        7,
    )
    assert first["args"]["path"] == "/etc/a\x1b\n"
    assert '"ts": 1699963200250000.000}' in text
    assert '"ts": 1699963200250000.001}' in text  # to the nanosecond
    assert second["pid"] == 8
    assert gone["name"] == "lost: 23 events that found the ring full"
    assert {(one["ph"], one["pid"], one["args"]["name"]) for one in names} == {("M", 7, "ls"), ("M", 8, "sh")}


def test_events_with_a_time_are_slices_that_end_then():
    schema, batch = happened("runqslower", (7, 9, b"make", 1_500_001, 3, 11, b"sh"))
    names = {column.name: column for column in schema.columns}
    assert "wait_ns" in names
    events, text = shown(schema, batch)
    assert (events[0]["ph"], events[0]["tid"]) == ("X", events[0]["args"]["tid"])
    wait = events[0]["args"]["wait_ns"]
    assert f'"dur": {wait // 1000}.{wait % 1000:03}}}' in text
    begin = NOON - wait
    assert f'"ts": {begin // 1000}.{begin % 1000:03},' in text


def test_nothing_seen_is_a_list():
    schema, batch = happened("opensnoop")
    assert shown(schema, batch)[0] == []
