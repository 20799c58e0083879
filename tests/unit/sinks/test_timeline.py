"""Test events on a timeline: slices, instants, counters and flows at their exact times, by thread and CPU."""

from __future__ import annotations

import io
import itertools
import json
import random

import numpy as np
import pytest

from pytracer.enrich import decoders
from pytracer.enrich.event_batches import EventDecoder
from pytracer.model import Batch, Loss, Schema, Snapshot
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.sinks.chrome import ChromeWriter
from pytracer.sinks.timeline import Track
from pytracer.sinks.timeline_lanes import Lanes, Pairs
from pytracer.spec import Column, Stream, Unit, registry
from support.fake_kernel import FakeKernel
from support.timelines import FORMATS, timeline

NOON = 1_699_963_200_250_000_000
DAY = 86_400_000_000_000
HOSTILE = "</script>\x1b]0;\x07\udcff\N{SNOWMAN}"


def schema_of(tracer):
    return make_plan(Request(registry.get(tracer)), FakeKernel()).schema


def event_batch(tracer, *rows):
    schema = schema_of(tracer)
    kinds = [(column.source, "S64" if column.decode == "text" else "i8") for column in schema.columns]
    records = np.array([(number, *row) for number, row in enumerate(rows)], [("ns", "u8"), *kinds])
    batch = EventDecoder(schema, decoders({})).batch(records)
    return schema, Batch(batch.names, batch.records, records["ns"].astype("i8") + NOON, batch.read)


def batch(schema, *rows):
    """Return a batch of rows that are (time, a value for each column) already."""
    names = tuple(column.name for column in schema.columns)
    columns = {name: np.array([row[index] for row in rows], object) for index, name in enumerate(names, 1)}
    times = np.array([NOON + row[0] for row in rows], "i8")
    numbers = np.arange(len(rows))
    return Batch(names, numbers, times, lambda name, records: columns[name][records])


@pytest.mark.parametrize("form", FORMATS)
def test_events_without_a_time_are_instants(form):
    schema, events = event_batch("opensnoop", (7, b"ls", 3, 0, 0, b"/etc/a\x1b\n"), (8, b"sh", 3, 0, 0, b"b"))
    lost = Loss("ring_full", 23, "events that found the ring full", NOON / 1e9)
    actual = timeline(form, schema, events, lost)
    assert [instant[1:] for instant in actual.instants if instant[0] == (7, 7)] == [(NOON, "/etc/a\x1b\n")]
    assert [instant[1:] for instant in actual.instants if instant[0] == (8, 8)] == [(NOON + 1, "b")]
    assert [name for *_, name in actual.instants if "lost" in name] == [
        "lost: 23 events that found the ring full"
    ]
    assert actual.args[-1 if form == "perfetto" else 0]["path"] in ("/etc/a\x1b\n", "b")
    assert actual.names == {(7, 7): "ls", (8, 8): "sh"}


@pytest.mark.parametrize("form", FORMATS)
def test_events_with_a_time_are_slices_that_end_then(form):
    schema = schema_of("runqslower")
    actual = timeline(form, schema, batch(schema, (0, 7, 9, "make", 1_500_001, 3, 11, "sh")))
    assert actual.slices == [((7, 9), NOON - 1_500_001, NOON, "sh")]
    assert actual.args[0] == {
        "pid": 7, "tid": 9, "comm": "make", "wait_ns": 1_500_001, "cpu": 3, "prev_tid": 11, "prev_comm": "sh",
    }  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_times_follow_each_other(form):
    schema = schema_of("biosnoop")
    fields = (100, 7, "dd", "vda", "read", 8, 4096, 30, 50, None)
    unknown = (200, 7, "dd", "vda", "read", 16, 4096, None, 50, None)
    actual = timeline(form, schema, batch(schema, fields, unknown))
    assert [(begin - NOON, end - NOON, name) for _, begin, end, name in actual.slices] == [
        (20, 50, "vda: queue"), (50, 100, "vda: service"), (150, 200, "vda: service"),
    ]  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_overlapping_slices_have_rows_of_their_own(form):
    schema = schema_of("biosnoop")
    rows = [
        (end, 7, "dd", "vda", "read", 8, 512, None, length, None) for end, length in ((100, 60), (120, 60))
    ]
    actual = timeline(form, schema, batch(schema, *rows))
    first, second = sorted(actual.slices, key=lambda item: item[1])
    assert (first[0], first[1] - NOON, first[2] - NOON) == ((7, 7), 40, 100)
    assert second[0] == ((7, 7 + (1 << 22)) if form == "chrome" else "dd (2)")
    assert (second[1] - NOON, second[2] - NOON) == (60, 120)


@pytest.mark.parametrize("form", FORMATS)
def test_pairs_of_probes_are_slices(form):
    schema = schema_of("trace")
    rows = [
        (0, 7, 7, "ruby", "usdt:/lib/r:ruby:gc__start", ""),
        (5, 8, 8, "sh", "t:raw_syscalls:sys_exit", "59"),  # began before
        (10, 7, 7, "ruby", "t:raw_syscalls:sys_enter", "1"),
        (11, 7, 7, "ruby", "t:sched:sched_wakeup", ""),
        (20, 7, 7, "ruby", "t:raw_syscalls:sys_exit", "1"),
        (30, 7, 7, "ruby", "usdt:/lib/r:ruby:gc__done", ""),
        (40, 8, 8, "sh", "t:syscalls:sys_enter_read", "3"),  # never ends
    ]
    actual = timeline(form, schema, batch(schema, *rows))
    assert [(track, begin - NOON, end - NOON, name) for track, begin, end, name in actual.slices] == [
        ((7, 7), 0, 30, "gc"), ((7, 7), 10, 20, "sys 1"),
    ]  # fmt: skip
    assert [(track, time - NOON, name) for track, time, name in actual.instants] == [
        ((7, 7), 11, "sched_wakeup"), ((8, 8), 5, "sys_exit 59"), ((8, 8), 40, "sys_read 3"),
    ]  # fmt: skip


TURNS = Schema(
    "turns",
    (),
    (
        Column("pid", "", null=0),
        Column("comm", "", decode="text"),
        Column("cpu", ""),
        Column("waker_tid", "", null=0),
        Column("wait_ns", "", unit=Unit.NANOSECONDS),
        Column("ran_ns", "", unit=Unit.NANOSECONDS, on_cpu=True),
    ),
    Stream(),
)


@pytest.mark.parametrize("form", FORMATS)
def test_a_timeline_has_time_on_cpus_and_flows_from_the_waker(form):
    actual = timeline(
        form, TURNS, batch(TURNS, (100, 7, "make", 3, 9, 20, 50), (180, 7, "make", 3, None, 0, 10))
    )
    cpu = (1 << 30, 3) if form == "chrome" else "CPU 3"
    times = {(track, begin - NOON, end - NOON) for track, begin, end, name in actual.slices if end > begin}
    assert times == {((7, 7), 30, 50), ((7, 7), 50, 100), (cpu, 50, 100), ((7, 7), 170, 180), (cpu, 170, 180)}
    assert [(a, b - NOON, c, d - NOON) for a, b, c, d in actual.flows] == [((9, 9), 30, (7, 7), 50)]


@pytest.mark.parametrize("form", FORMATS)
def test_tables_are_counters(form):
    schema = schema_of("vfsstat")
    names = [column.name for column in schema.values]

    def table(time, kind):
        rows = {"pid": [7], "comm": ["a"], **{n: [value] for value, n in enumerate(names, time)}}
        expected = {column.name for column in schema.columns}
        return Snapshot(kind, float(time), 1.0, {n: v for n, v in rows.items() if n in expected})

    actual = timeline(form, schema, table(1, "row"), table(2, "row"), table(9, "summary"))
    assert {time for _, time, _ in actual.counters} == {1_000_000_000, 2_000_000_000}
    assert len(actual.counters) >= 2
    assert not actual.slices


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_names_are_text(form):
    schema = schema_of("runqslower")
    actual = timeline(form, schema, batch(schema, (0, 7, 9, HOSTILE, 1, 3, 11, HOSTILE)))
    [(_, _, _, name)] = actual.slices
    assert name in (HOSTILE, HOSTILE.encode("utf-8", "backslashreplace").decode())
    assert len(actual.names) == 1


@pytest.mark.parametrize("form", FORMATS)
def test_a_timeline_without_data_has_no_events(form):
    schema, events = event_batch("opensnoop")
    assert timeline(form, schema, events).args == []


def test_slices_of_a_row_are_apart_or_inside_each_other():
    lanes, rows, draw = Lanes(), {}, random.Random(23)
    ends = sorted(draw.randrange(20_000) for _ in range(10_000))
    for end in ends:
        times = (end - draw.choice((0, 1, 7, 100, 3000)), end)
        rows.setdefault(lanes.find("thread", times), []).append(times)
    assert sum(map(len, rows.values())) == len(ends)
    for row in rows.values():
        events = sorted(
            ((time, number, kind) for number, times in enumerate(row) for kind, time in enumerate(times)),
            key=lambda event: (event[0], event[1] * 2 + event[2]),  # as they are written
        )
        stack = []
        for _, number, kind in events:
            if kind == 0:
                stack.append(number)
            else:
                assert stack.pop() == number


def test_nested_slices_share_a_row():
    lanes = Lanes()
    assert [lanes.find(1, times) for times in ((2, 3), (4, 5), (1, 6), (7, 8), (0, 9))] == [0] * 5
    assert lanes.find(1, (8, 10)) == 1


def test_an_end_closes_the_last_of_its_name():
    pairs = Pairs()
    for time in (1, 2):
        assert not list(pairs.add(7, "t:lock:contention_begin", time, "", {}))
    assert not list(pairs.add(7, "t:x:other_start", 3, "", {}))
    unpaired, pair = pairs.add(7, "t:lock:contention_end", 9, "", {})
    assert (unpaired.name, unpaired.time, unpaired.end) == ("other", 3, None)
    assert (pair.time, pair.end) == (2, 9)
    assert [span.time for span in pairs.iter_unended()] == [1]
    assert not list(pairs.iter_unended())


def test_the_number_of_unfinished_slices_is_bounded():
    pairs = Pairs()
    times = [span for time in range(1000) for span in pairs.add(7, "t:a:b_begin", time, "", {})]
    assert len(times) == 1000 - 256
    assert times[0].time == 0


def test_slices_that_touch_do_not_overlap_as_doubles():
    """Readers of Chrome's format take times and durations as doubles of microseconds, and add them up; some
    subtract the first time of a thread before."""
    rng = random.Random(23)
    times = [NOON]
    for _ in range(2000):
        times.append(times[-1] + rng.randrange(1, 10**7))
    stream = io.StringIO()
    writer = ChromeWriter(stream)
    writer.begin("test")
    for begin, end in itertools.pairwise(times):
        writer.slice(Track(1, 1), (begin, end), "a", {}, 0)
    writer.end()
    slices = [event for event in json.loads(stream.getvalue()) if event["ph"] == "X"]
    assert len(slices) == 2000
    origin = slices[0]["ts"]
    for (first, second), (begin, end) in zip(
        itertools.pairwise(slices), itertools.pairwise(times[:-1]), strict=True
    ):
        assert first["ts"] + first["dur"] == second["ts"]
        assert (first["ts"] - origin) + first["dur"] == second["ts"] - origin
        assert (round(first["ts"] * 1000), round(first["dur"] * 1000)) == (begin % DAY, end - begin)
