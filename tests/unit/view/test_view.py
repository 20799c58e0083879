"""Test views: the items that arrived, sorted and filtered as requested."""

from __future__ import annotations

import numpy as np
import pytest

from pytracer.errors import UsageError
from pytracer.model import Batch, Coded, Histograms, Loss, Snapshot, StackSnapshot
from pytracer.model.buckets import BUCKETS
from pytracer.view import EventsView, TableView, make_view, sparkline, take
from pytracer.view.events import TIME
from support.view_items import FIRST, HOSTILE, NOON, schema, table, view_of

SYSCALLS = schema("syscalls", by=("syscall", "pid"))
OPENSNOOP = schema("opensnoop")


def calls(view):
    return [row["syscall"] for row in view.rows(0, 100)]


def test_rows_stay_in_the_order_of_the_run_until_they_are_sorted():
    view = view_of(FIRST)
    assert isinstance(view, TableView)
    assert len(view) == 3
    assert calls(view) == ["read", "write", HOSTILE]
    view.sort_by("total_ns")
    assert calls(view) == ["write", "read", HOSTILE]
    view.sort_by("total_ns", descending=False)
    assert calls(view) == [HOSTILE, "read", "write"]
    view.sort_by("syscall")
    assert calls(view) == [HOSTILE, "read", "write"]
    view.sort_by("avg_ns", descending=False)
    assert calls(view) == [HOSTILE, "read", "write"]  # null before all numbers
    with pytest.raises(KeyError):
        view.sort_by("nothing")
    view.sort_by("")
    assert calls(view) == ["read", "write", HOSTILE]


def test_only_the_rows_that_are_requested_are_made():
    view = view_of(FIRST)
    columns = [view.column("syscall"), view.column("calls"), view.column("total_ns")]
    assert view.cells(1, 1, columns) == [["write", "3", "30.000 ms"]]
    assert view.cells(2, 9, columns) == [["\\x1b[2J[red]x\\", "0", "0 ns"]]
    assert view.cells(3, 9, columns) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["read", "write", HOSTILE]),
        ("WRITE", ["write"]),
        ("7", ["read", "write"]),
        ("c9", [HOSTILE]),
        ("syscall=read", ["read"]),
        ("syscall!=read pid=7", ["write"]),
        ("syscall~R", ["read", "write", HOSTILE]),
        ("syscall!~r", []),
        ("total_ns>=30ms", ["write"]),
        ("total_ns<30ms calls>0", ["read"]),
        ("avg_ns!=1us", ["write", HOSTILE]),
        ("syscall~\\x1b", [HOSTILE]),
    ],
)
def test_filters(text, expected):
    view = view_of(FIRST)
    view.set_filter(text)
    assert calls(view) == expected
    assert len(view) == len(expected)


@pytest.mark.parametrize("text", ["nothing=1", "calls=many", "total_ns>soon", "syscall>read"])
def test_a_wrong_filter_changes_nothing(text):
    view = view_of(FIRST)
    view.set_filter("pid=9")
    with pytest.raises(UsageError):
        view.set_filter(text)
    assert calls(view) == [HOSTILE]


def test_a_paused_table_stays_and_intervals_can_be_walked():
    second = {("read", 7): (9, 9_000)}
    view = view_of(FIRST, second)
    assert calls(view) == ["read"]
    view.step(-1)
    assert view.paused
    assert calls(view) == ["read", "write", HOSTILE]
    assert view.title().endswith("1.0 s, 1 of 2")
    view.add(table(2, {("close", 1): (1, 1)}))
    assert calls(view) == ["read", "write", HOSTILE]
    view.step(+9)
    assert calls(view) == ["close"]
    view.add(table(3, second))
    assert calls(view) == ["close"]
    view.resume()
    assert calls(view) == ["read"]


def test_the_trend_of_a_row():
    view = view_of(FIRST, {("write", 7): (1, 1)}, {("read", 7): (2, 8)})
    [row] = view.rows(0, 1)
    assert view.trend(row) == [5, None, 2]
    view.sort_by("total_ns")
    assert view.trend(row) == [5_000, None, 8]
    assert list(view.rates) == [8, 1, 2]


def test_old_intervals_are_dropped_beyond_a_limit():
    view = make_view(SYSCALLS)
    for number in range(700):
        view.add(table(number, {("read", number): (1, 1)}))
    view.step(-700)
    assert view.title().endswith("1 of 600")
    assert view.rows(0, 1)[0]["pid"] == 100


def test_a_view_returns_an_item():
    view = view_of(FIRST)
    view.set_filter("pid=7")
    view.sort_by("calls", descending=False)
    item = view.shown()
    assert isinstance(item, Snapshot)
    assert item.columns["syscall"] == ["write", "read"]
    assert item.columns["calls"].tolist() == [3, 5]


def test_losses_add_up_by_reason():
    view = view_of(FIRST)
    view.add(Loss("map_full", 2, "rows", NOON))
    view.add(Loss("map_full", 3, "rows", NOON))
    view.add(Loss("missed", 1, "events", NOON))
    assert {reason: loss.lost for reason, loss in view.lost.items()} == {"map_full": 5, "missed": 1}
    assert len(view) == 3


def test_histograms_have_their_count_and_percentiles():
    biolatency = schema("biolatency")
    view = make_view(biolatency)
    counts = np.zeros((2, 64), dtype="u8")
    counts[0, 10], counts[1, 12] = 3, 5
    shares = {name: [1, 2] for name in ("p50_ns", "p90_ns", "p99_ns", "p999_ns")}
    values = {"total_ns": [30, 50], "avg_ns": [10, 10], "max_ns": [1_500, 5_000]} | shares
    fine = np.zeros((2, BUCKETS), dtype="u8")
    view.add(Histograms("row", NOON, 1.0, {"disk": ["a", "b"]}, "requests", counts, values, fine))
    view.sort_by("requests")
    assert [(row["disk"], row["requests"], row["p99_ns"]) for row in view.rows(0, 2)] == [
        ("b", 5, 2),
        ("a", 3, 1),
    ]
    assert view.rows(0, 1)[0]["buckets"][12] == 5
    item = view.shown()
    assert isinstance(item, Histograms)
    assert item.counts.sum(axis=1).tolist() == [5, 3]
    assert item.keys["disk"] == ["b", "a"]


def test_stacks_are_found_by_their_functions():
    view = make_view(schema("profile"))
    columns = {
        "pid": [1, 2],
        "comm": ["a", "b"],
        "kernel": [("k",), ()],
        "user": [("f", "main"), ("g", "main")],
        "samples": [1, 2],
    }
    view.add(StackSnapshot("row", NOON, 1.0, columns))
    view.set_filter("user~G")
    assert [row["pid"] for row in view.rows(0, 9)] == [2]
    view.set_filter("user!~g")
    assert [row["pid"] for row in view.rows(0, 9)] == [1]
    view.set_filter("main")
    view.sort_by("samples")
    assert [row["pid"] for row in view.rows(0, 9)] == [2, 1]


# ---- events

RECORD = np.dtype([("pid", "u4"), ("name", "i8")])
NAMES = ("sh", "ls", HOSTILE)
DECODED: list[int] = []


def read(name, records):
    DECODED.append(len(records))
    if name == "pid":
        return records["pid"]
    return Coded(NAMES, records["name"])


def batch(first, count):
    records = np.zeros(count, dtype=RECORD)
    records["pid"] = np.arange(first, first + count)
    records["name"] = records["pid"].astype("i8") % 4 - 1
    times = (np.arange(first, first + count) + int(NOON * 1000)) * 1_000_000
    return Batch(("pid", "comm"), records, times, read)


def events(*batches, limit=1 << 20):
    view = EventsView(OPENSNOOP, limit)
    view.columns = tuple(column for column in view.columns if column.name in ("pid", "comm"))
    for first, count in batches:
        view.add(batch(first, count))
    return view


def pids(view, first=0, count=1000):
    return [row["pid"] for row in view.rows(first, count)]


def test_events_are_a_log():
    view = events((0, 5), (5, 3), (8, 1))
    assert len(view) == 9
    assert pids(view) == list(range(9))
    assert pids(view, 3, 4) == [3, 4, 5, 6]
    assert pids(view, 7, 9) == [7, 8]
    assert view.seen == 9


def test_only_events_on_the_screen_are_decoded():
    view = events((0, 10_000), (10_000, 10_000))
    DECODED.clear()
    columns = [TIME, *view.columns]
    lines = view.cells(19_990, 10, columns)
    assert [int(line[1]) for line in lines] == list(range(19_990, 20_000))
    assert lines[1][2] == "\\x1b[2J[red]x\\"
    assert sum(DECODED) == 20


def test_a_log_keeps_its_newest_lines():
    view = events((0, 10), (10, 10), (20, 10), limit=RECORD.itemsize * 25)
    assert pids(view) == list(range(10, 30))
    assert view.dropped == 10
    assert "30 events" in view.title()
    assert "first 10 are not kept" in view.title()


def test_events_are_filtered_on_arrival_and_later():
    view = events((0, 8))
    view.set_filter("comm=sh")
    assert pids(view) == [1, 5]
    view.add(batch(8, 4))
    assert pids(view) == [1, 5, 9]
    assert len(view) == 3
    view.set_filter("comm!=sh pid>=8")
    assert pids(view) == [8, 10, 11]
    view.set_filter("")
    assert len(view) == 12


def test_paused_events_stay_and_can_be_sorted():
    view = events((0, 6), limit=RECORD.itemsize * 8)
    view.pause()
    view.add(batch(6, 6))
    assert pids(view) == list(range(6))
    view.sort_by("pid")
    assert pids(view) == list(range(6))  # an id: the least first
    view.sort_by("pid", descending=True)
    assert pids(view, 1, 2) == [4, 3]
    view.sort_by("comm")
    assert [row["comm"] for row in view.rows(0, 9)] == [None, None, HOSTILE, "ls", "sh", "sh"]
    assert view.shown().times.tolist() == [row["time"] for row in view.rows(0, 9)]
    view.resume()
    assert view.sort == ""
    assert pids(view) == list(range(6, 12))


def test_events_a_second():
    view = events((0, 50))
    view.measure(0.5)
    view.add(batch(50, 10))
    view.measure(0.5)
    assert list(view.rates) == [100, 20]


def test_a_range_of_rows_of_an_item():
    part = take(batch(0, 5), np.array([3, 1]))
    assert [row["pid"] for row in part.value_rows()] == [3, 1]
    assert take(table(0, FIRST), slice(1, 2)).columns["syscall"] == ["write"]


def test_sparklines():
    assert sparkline([0, 1, 8], 5) == "  ▁▂█"
    assert sparkline([None, 0.001, 8], 3) == " ▂█"
    assert sparkline([1, 2, 3, 4], 2) == "▆█"
    assert sparkline([0, 8], 2, ascii_only=True) == "_@"
    assert sparkline([], 3) == "   "
