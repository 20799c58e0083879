"""Test time series of scripts: CPUs are merged, old intervals left out, and charts drawn."""

from __future__ import annotations

import struct

import pytest

from pytracer.enrich.script_series import Series, as_json, chart, read_series
from pytracer.lang.script.types import SERIES, AggregateType


def kind(aggregate="last", number=5):
    return AggregateType("tseries", signed=True, parameters=(10**8, number, SERIES.index(aggregate)))


def read(aggregate, *cells, number=5):
    """Read (key, the words of each CPU) as they lie in the map."""
    entries = [
        (struct.pack("=QQ", key, 0), [word % (1 << 64) for words in cpus for word in words])
        for key, *cpus in cells
    ]
    actual = read_series(kind(aggregate, number), entries)
    return {int.from_bytes(key, "little"): series for key, series in actual.items()}


@pytest.mark.parametrize(
    ("aggregate", "value"), [("last", -4), ("sum", -3), ("min", -4), ("max", 1), ("avg", -1)]
)
def test_values_of_all_cpus_are_one(aggregate, value):
    # Of "last", the third word is the time; of avg the number of values.
    parsed = read(aggregate, (1, (8, 1, 2), (8, -4, 9 if aggregate == "last" else 1)))
    assert parsed[1].values == {7: value}


def test_only_the_last_intervals_of_the_whole_map_are_there():
    parsed = read("sum", (1, (8, 1, 1)), (1, (11, 2, 1)), (2, (4, 5, 1)), (2, (9, 6, 1)), number=3)
    assert parsed == {1: Series({10: 2}, 10, 10), 2: Series({8: 6}, 8, 10)}
    assert read("sum", (1, (0, 0, 0))) == {1: Series({}, 0, 0)}


def test_charts(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    lines = chart(kind(), Series({1: -5, 2: -2, 3: 0, 5: 5}, 1, 5)).splitlines()
    assert lines[0] == lines[-1] == " " * 13 + "-5" + "5".rjust(51)
    assert lines[1] == "hh:mm:ss.ms  |" + "_" * 51 + "|"
    rows = [line[13:] for line in lines[2:-2]]
    assert rows == [
        "*" + " " * 25 + "." + " " * 25 + "| -5",
        "|" + " " * 14 + "*" + " " * 10 + "." + " " * 25 + "| -2",
        "|" + " " * 25 + "*" + " " * 25 + "| 0",
        "|" + " " * 25 + "." + " " * 25 + "| -",
        "|" + " " * 25 + "." + " " * 25 + "* 5",
    ]
    assert [line[8:13] for line in lines[2:-2]] == [".100 ", ".200 ", ".300 ", ".400 ", ".500 "]


def test_a_value_alone_is_in_the_middle():
    lines = chart(kind(), Series({1: 9}, 1, 1)).splitlines()
    assert lines[0] == " " * 13 + "8" + "10".rjust(52)
    assert lines[2][13:] == "|" + " " * 25 + "*" + " " * 25 + "| 9"


def test_json_has_the_intervals_with_a_value():
    [first, second] = as_json(kind(), Series({15: 9, 17: 4}, 15, 18))
    assert (first["value"], second["value"]) == (9, 4)
    assert first["interval_start"].endswith(":01.500000000")
