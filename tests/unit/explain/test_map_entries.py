"""Test map entries as text."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import MapType
from pytracer.explain.map_entries import SHOWN, MapEntries, entries_of

KEY = np.dtype([("target", "u4"), ("comm", "S16")])
VALUE = np.dtype([("count", "u8"), ("seen", "u8"), ("name", "i1", (4,)), ("places", "u4", (2,))])


def entries(
    monkeypatch: pytest.MonkeyPatch,
    kind: MapType,
    keys: np.ndarray,
    values: np.ndarray,
    greatest: Collection[str] = (),
) -> MapEntries:
    table = Map("some", -1, kind, len(keys), lambda: (keys.dtype, values.dtype))
    monkeypatch.setattr(Map, "read", lambda _: (keys, values))
    return entries_of(table, greatest)


def test_numbers(monkeypatch):
    keys, values = np.array([3, 5], "u4"), np.array([7, 0], "u8")
    assert entries(monkeypatch, MapType.HASH, keys, values) == MapEntries(2, (("3", "7"), ("5", "0")))
    assert entries(monkeypatch, MapType.ARRAY, keys, values) == MapEntries(1, (("3", "7"),))


def test_structs_and_text(monkeypatch):
    keys = np.array([(1, b"a\x1b'\xff")], KEY)
    values = np.array([(23, 5, tuple(b"cat\0"), (8, 9))], VALUE)
    actual = entries(monkeypatch, MapType.LRU_HASH, keys, values)
    assert actual.first == (
        ('target=1, comm="a\\x1b\'\\\\xff"', "count=23, seen=5, name='cat', places=[8, 9]"),
    )


def test_values_of_all_cpus_are_added_up(monkeypatch):
    keys = np.array([0], "u4")
    values = np.zeros((1, 3), VALUE)
    values["count"] = [[1, 2, 20]]
    values["name"][0, 1] = tuple(b"dog\0")
    actual = entries(monkeypatch, MapType.PERCPU_ARRAY, keys, values)
    assert actual == MapEntries(1, (("0", "count=23, seen=0, name='dog', places=[0, 0]"),))
    plain = entries(monkeypatch, MapType.PERCPU_HASH, keys, np.array([[4, 5, 6]], "u8"))
    assert plain == MapEntries(1, (("0", "15"),))


def test_the_maximum_of_per_cpu_values(monkeypatch):
    values = np.zeros((1, 3), VALUE)
    values["count"], values["seen"] = [[1, 2, 20]], [[7, 9, 8]]
    actual = entries(monkeypatch, MapType.PERCPU_ARRAY, np.array([0], "u4"), values, greatest={"seen"})
    assert actual.first == (("0", "count=23, seen=9, name='', places=[0, 0]"),)


def test_the_first_of_many(monkeypatch):
    keys = np.arange(100, dtype="u4")
    actual = entries(monkeypatch, MapType.HASH, keys, keys.astype("u8"))
    assert (actual.count, len(actual.first)) == (100, SHOWN)


@pytest.mark.parametrize(
    "kind", [MapType.RINGBUF, MapType.STACK_TRACE, MapType.LPM_TRIE, MapType.CGROUP_ARRAY]
)
def test_other_maps_show_their_entries(kind):
    entries = entries_of(Map("some", -1, kind, 1, lambda: (np.dtype("u4"), np.dtype("u4"))))
    assert entries.count is None
    assert entries.reason
