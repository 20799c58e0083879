"""Test which functions a program array is filled with, and their types."""

from __future__ import annotations

from pytracer.bpf.load import tail_calls
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import MapType

STEPS = Map("steps", 5, MapType.PROG_ARRAY, 3, tuple)
OTHERS = Map("others", 6, MapType.ARRAY, 3, tuple)


def test_functions_are_named_for_the_array_and_their_place():
    functions = {"steps_2", "steps_0", "steps_3", "steps_x", "steps", "other_1"}
    assert list(tail_calls.functions("steps", 3, functions)) == [(0, "steps_0"), (2, "steps_2")]


def test_each_array_is_filled_once(monkeypatch):
    """Also if its functions refer to it again; other maps are not touched."""
    filled, loaded = [], []
    monkeypatch.setattr(tail_calls, "map_update", lambda *words: filled.append(words))
    calls = tail_calls.TailCalls(
        {"steps": STEPS, "others": OTHERS}, {"begin", "steps_0", "steps_1", "others_0"}
    )

    def load(name: str) -> int:
        loaded.append(name)
        calls.fill(["steps"], load)
        return 100 + len(loaded)

    calls.fill(["others"], load)
    assert not loaded
    calls.fill(["steps", "others"], load)
    calls.fill(["steps"], load)
    assert loaded == ["steps_0", "steps_1"]
    assert filled == [(5, bytes(4), bytes([101, 0, 0, 0])), (5, bytes([1, 0, 0, 0]), bytes([102, 0, 0, 0]))]


def test_tail_called_functions_have_the_type_of_the_program():
    attributes = {"btf_id": 7, "constants": {1: 2}, "prologue": b"x", "label": "l", "on_log": print}
    assert tail_calls.tail_call_targets(attributes) == {"btf_id": 7, "constants": {1: 2}}
