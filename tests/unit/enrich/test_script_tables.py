"""Test what becomes of a script's maps on a live screen."""

from __future__ import annotations

from pytracer.enrich.script_tables import tabulate
from pytracer.lang.script.program import ScriptMap
from pytracer.lang.script.types import AggregateType, StackType, StringType
from pytracer.lang.types import IntType
from pytracer.model.script import MapHistograms, MapTable, ScriptOutput
from pytracer.view.script import MapView

NUMBER = IntType(8, False)
TEXT = StringType(16)


def show_map(value, kind, data, keys=(TEXT,)):
    """Return the rows of a map on the screen."""
    item = tabulate(ScriptMap("@m", 0, keys, value), ScriptOutput(kind, {"@m": data}, ""), 2.0)
    view = MapView(item.schema)
    view.add(item)
    assert not view.rates
    assert not view.has_whole_run
    return [{name: row[name] for name in row if name != "time"} for row in view.rows(0, 99)]


def test_the_greatest_comes_first():
    rows = show_map(AggregateType("count"), "map", {"a": 3, "b": 7})
    assert rows == [{"key": "b", "value": 7}, {"key": "a", "value": 3}]
    assert show_map(NUMBER, "map", 5, keys=()) == [{"value": 5}]
    assert show_map(TEXT, "map", {"a": "x"}) == [{"key": "a", "value": "x"}]


def test_statistics_have_columns():
    data = {"a": {"count": 2, "average": 3, "total": 6}}
    assert show_map(AggregateType("stats"), "stats", data) == [
        {"key": "a", "count": 2, "average": 3, "total": 6}
    ]
    assert show_map(AggregateType("avg"), "stats", {"a": 3}) == [{"key": "a", "value": 3}]


def test_stacks_are_stacks():
    [row] = show_map(AggregateType("count"), "map", {"f+1\ng+2": 3}, keys=(StackType(True, 4, ""),))
    assert row == {"stack": ("f+1", "g+2"), "value": 3}


def test_histograms_by_power_of_two():
    buckets = [{"max": -1, "count": 1}, {"min": 1, "max": 1, "count": 2}, {"min": 64, "max": 127, "count": 9}]
    data = {"a": buckets}
    script_map = ScriptMap("@m", 0, (TEXT,), AggregateType("hist", parameters=(0,)))
    item = tabulate(script_map, ScriptOutput("hist", {"@m": data}, ""), 2.0)
    assert isinstance(item, MapHistograms)
    assert {slot: count for slot, count in enumerate(item.counts[0].tolist()) if count} == {0: 3, 6: 9}


def test_linear_histograms_are_rows_of_buckets():
    data = {"a": [{"min": 0, "max": 9, "count": 2}, {"min": 10, "max": 19, "count": 5}]}
    item = tabulate(
        ScriptMap("@m", 0, (TEXT,), AggregateType("lhist")), ScriptOutput("hist", {"@m": data}, ""), 2.0
    )
    assert isinstance(item, MapTable)
    assert item.columns["bucket"] == ["0..9", "10..19"]
    assert item.columns["count"] == [2, 5]
