"""Test heat maps: cells, sums, and hostile strings."""

from __future__ import annotations

import io
import time
from xml.etree import ElementTree

import numpy as np
import pytest

from pytracer.cli import main
from pytracer.errors import UsageError
from pytracer.model import Histograms, Loss, StackSnapshot
from pytracer.model.buckets import BUCKETS, bounds, bucket_of, by_power, percentiles
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.sinks import heat, heatmap, make_sink
from pytracer.sinks.formatting import clock
from pytracer.spec import registry
from support.fake_kernel import FakeKernel

SVG = "{http://www.w3.org/2000/svg}"
NOON = 1_699_963_200.25  # 2023-11-14 12:00:00.250 UTC
BIOLATENCY = make_plan(Request(registry.get("biolatency")), FakeKernel()).schema
PROFILE = make_plan(Request(registry.get("profile")), FakeKernel()).schema
LOST = Loss("map_full", 12, "rows that did not fit", NOON)
HOSTILE = """</title><script>alert(1)</script>"'&]]>\x1b[2J"""


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    clock.cache_clear()
    yield
    monkeypatch.undo()
    time.tzset()
    clock.cache_clear()


def interval(time, disks, seconds=1.0):
    """Return the histograms of an interval: the values of each disk."""
    fine = np.zeros((len(disks), BUCKETS), dtype="u8")
    for row, values in enumerate(disks.values()):
        for value in values:
            fine[row, bucket_of(value)] += 1
    maxima = [max(values) for values in disks.values()]
    values = {"total_ns": [sum(v) for v in disks.values()], "avg_ns": [1] * len(disks), "max_ns": maxima}
    names = {"p50_ns": 0.5, "p90_ns": 0.9, "p99_ns": 0.99, "p999_ns": 0.999}
    values |= {name: percentiles(fine, share, maxima) for name, share in names.items()}
    counts = by_power(fine) if disks else np.zeros((0, 64))
    return Histograms("row", NOON + time, seconds, {"disk": list(disks)}, "requests", counts, values, fine)


def stacks(time, samples, seconds=0.02):
    columns = {"pid": [1], "comm": ["a"], "kernel": [()], "user": [("f",)], "samples": [samples]}
    return StackSnapshot("row", NOON + time, seconds, columns)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def render(schema, items, stream=None):
    stream = stream or io.StringIO()
    sink = make_sink("heatmap", stream, timestamps=False, terminal=False)
    sink.open(schema)
    for item in items:
        sink.emit(item)
    sink.close()
    return stream.getvalue()


def cells(svg):
    """Return each cell's tooltip, with its place."""
    return {
        rect.find(f"{SVG}title").text: (float(rect.get("x")), float(rect.get("y")), int(rect.get("data-n")))
        for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect")
        if rect.get("class") == "cell"
    }


def test_the_bucket_of_a_value_is_the_one_with_its_bounds():
    for bucket in range(BUCKETS):
        low, high = bounds(bucket)
        assert bucket_of(low) == bucket_of(high - 1) == bucket


def test_cells_are_where_their_time_and_value_are():
    svg = render(BIOLATENCY, [interval(1, {"sda": [1000, 1001, 5000]}), interval(2, {"sda": [5000]})])
    assert ElementTree.fromstring(svg).get("data-total") == "4"
    actual = cells(svg)
    low, high, later = (
        "12:00:01, 1 s, [960 ns, 1.024 us): 2 requests",
        "12:00:01, 1 s, [4.608 us, 5.12 us): 1 requests",
        "12:00:02, 1 s, [4.608 us, 5.12 us): 1 requests",
    )
    assert set(actual) == {low, high, later}
    assert actual[low][0] == actual[high][0] < actual[later][0]
    assert actual[high][1] == actual[later][1] < actual[low][1]


def test_an_interval_without_requests_keeps_its_width():
    full = render(
        BIOLATENCY, [interval(1, {"sda": [9]}), interval(2, {"sda": [9]}), interval(3, {"sda": [9]})]
    )
    holes = render(BIOLATENCY, [interval(1, {"sda": [9]}), interval(2, {}), interval(3, {"sda": [9]})])
    positions = (sorted(x for x, _, _ in cells(svg).values()) for svg in (full, holes))
    assert next(positions)[::2] == next(positions)


def test_each_key_has_a_picture_the_largest_first():
    svg = render(BIOLATENCY, [interval(1, {"sda": [9], "sdb": [8] * 5}), LOST])
    texts = [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert texts.index("sdb: 5 requests") < texts.index("sda: 1 requests")
    assert "lost: 12 rows that did not fit" in texts


def test_more_keys_than_are_drawn_are_counted():
    svg = render(BIOLATENCY, [interval(1, {f"sd{n}": [9] * (n + 1) for n in range(15)})])
    assert "3 more with 6 requests are not drawn" in svg
    assert ElementTree.fromstring(svg).get("data-total") == str(sum(range(4, 16)))


def test_percentiles_are_those_of_the_table():
    values = [10 * number for number in range(1, 102)]
    item = interval(1, {"sda": values})
    [(name, heat_interval)] = heat.intervals_of(item, BIOLATENCY)
    assert name == "sda"
    assert heat_interval.percentiles == (item.values["p50_ns"][0], item.values["p99_ns"][0])
    lines = list(ElementTree.fromstring(render(BIOLATENCY, [item])).iter(f"{SVG}path"))
    assert len([path for path in lines if path.get("class") == "line"]) == 2


def test_many_intervals_are_added_up():
    items = [interval(n, {"sda": [9] * 3}) for n in range(1, 1001)]
    actual = cells(render(BIOLATENCY, items))
    assert sum(count for _, _, count in actual.values()) == 3000
    assert len(actual) <= heatmap._COLUMNS_MAX
    assert "3 s, [9, 10)" not in actual


def test_wide_ranges_have_fewer_rows():
    svg = render(BIOLATENCY, [interval(1, {"sda": [1, 1 << 40]})])
    assert {tooltip.partition("[")[2] for tooltip in cells(svg)} == {
        "0 ns, 4 ns): 1 requests",
        "1100 s, 1649 s): 1 requests",
    }


def test_counts_by_power_of_two_alone_do():
    item = interval(1, {"sda": [1000, 5000]})
    plain = Histograms(*(getattr(item, name) for name in (
        "kind", "time", "seconds", "keys", "counter", "counts", "values",
    )))  # fmt: skip
    [(_, heat_interval)] = heat.intervals_of(plain, BIOLATENCY)
    assert np.flatnonzero(heat_interval.counts).tolist() == [bucket_of(512), bucket_of(4096)]


def test_hostile_names_are_text():
    for svg in (render(BIOLATENCY, [interval(1, {HOSTILE: [9]})]),):
        root = ElementTree.fromstring(svg)
        assert len(list(root.iter(f"{SVG}script"))) == svg.count("<script") == svg.count("]]>") == 1
        assert not [character for character in svg if not character.isprintable() and character != "\n"]


def test_a_heatmap_without_data_is_a_picture():
    for schema in (BIOLATENCY, PROFILE):
        assert "nothing seen" in render(schema, [])


def test_colours_go_from_pale_to_dark():
    assert heat.strength(1, 100) == 0
    assert heat.strength(100, 100) == heat.strength(1, 1) == 1
    assert heat.colour(0) == "#fee391"
    assert heat.colour(1) == "#3c0832"


def test_stacks_are_by_part_of_a_second():
    items = [stacks(0.77, 7), stacks(0.79, 2), stacks(1.77, 3), stacks(1.90, 0)]
    svg = render(PROFILE, items)
    assert ElementTree.fromstring(svg).get("data-total") == "12"
    actual = cells(svg)
    assert {tooltip: count for tooltip, (_, _, count) in actual.items()} == {
        "12:00:01.000: 7 samples": 7, "12:00:01.020: 2 samples": 2, "12:00:02.000: 3 samples": 3,
    }  # fmt: skip
    assert actual["12:00:01.000: 7 samples"][1] == actual["12:00:02.000: 3 samples"][1]


def test_a_terminal_has_a_line_for_each_key_and_interval(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    items = [interval(1, {"sda": [1000, 1000, 5000], "b\x1b": [9000]}), LOST, interval(2, {"sda": [1 << 30]})]
    axis, sda, other, lost, wider, later = render(BIOLATENCY, items, Terminal()).splitlines()
    assert sda.startswith("12:00:01  sda   |")
    assert sda.endswith("|      3  p50 991 ns, p99 4.863 us")
    assert other.startswith("12:00:01  b\\x1b |")
    assert lost == "lost: 12 rows that did not fit"
    assert max(map(len, (axis, sda, other, wider, later))) <= 80
    start = sda.index("|") + 1
    assert sda[start:].index("█") < other[start:].index("█")
    assert len(wider) > len(axis)
    assert "█" in later


def test_a_terminal_has_a_line_for_each_second_of_stacks():
    first, second = render(
        PROFILE, [stacks(0.77, 7), stacks(1.27, 3), stacks(1.79, 1)], Terminal()
    ).splitlines()
    assert first == "12:00:01 |█" + " " * 24 + "▓" + " " * 24 + "| 10 samples"
    assert second == "12:00:02 | █" + " " * 48 + "| 1 samples"


def test_other_outputs_have_no_heat_map():
    syscalls = registry.get("syscalls").outputs
    table = next(output for output in syscalls if not output.when)
    with pytest.raises(UsageError, match="for histograms and stacks"):
        main._format("heatmap", table)
    histogram = next(output for output in syscalls if output.when == "latency")
    assert main._format("heatmap", histogram) == "heatmap"
