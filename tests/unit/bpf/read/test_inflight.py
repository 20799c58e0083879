"""Test that calls in flight of exited threads are removed from their map, and all others stay."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pytracer.bpf.read import inflight
from pytracer.bpf.read.inflight import PAUSE, InflightCalls

KEY = np.dtype([("target", "u8")])
CALL = np.dtype([("ns", "u8"), ("tid", "u4")])
SECOND = 1_000_000_000


class Table:
    """A table of calls by number: (when each began in seconds, its thread)."""

    def __init__(self, content: dict[int, tuple[int, int]]) -> None:
        self.content = content

    @property
    def is_empty(self) -> bool:
        return not self.content

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        values = [(began * SECOND, tid) for began, tid in self.content.values()]
        keys = np.array([(number,) for number in self.content], dtype=KEY)
        return keys, np.array(values, dtype=CALL)

    def delete(self, keys: np.ndarray) -> None:
        for key in keys["target"].tolist():
            del self.content[key]


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(inflight, "in_initial_namespace", lambda kind: True)
    return now


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "7").mkdir()  # the one thread that lives
    return tmp_path


def test_only_old_calls_of_ended_threads_are_removed(clock, proc):
    table = Table({1: (50, 7), 2: (50, 8), 3: (101, 8), 4: (50, 0), 5: (99, 9)})
    inflight_calls = InflightCalls(table, proc)
    clock[0] += PAUSE + 2
    inflight_calls.sweep()
    assert set(table.content) == {1, 3, 4}  # of a living thread, recent, of an idle thread
    clock[0] += PAUSE
    inflight_calls.sweep()
    assert set(table.content) == {1, 4}


def test_the_scan_pauses_between_two_passes(clock, proc):
    table = Table({1: (50, 8)})
    inflight_calls = InflightCalls(table, proc)
    clock[0] += PAUSE / 2
    inflight_calls.sweep()
    assert set(table.content) == {1}
    clock[0] += PAUSE / 2
    inflight_calls.sweep()
    assert not table.content


def test_nothing_is_removed_in_another_pid_namespace(clock, proc, monkeypatch):
    monkeypatch.setattr(inflight, "in_initial_namespace", lambda kind: False)
    table = Table({1: (50, 8)})
    inflight_calls = InflightCalls(table, proc)
    clock[0] += 10 * PAUSE
    inflight_calls.sweep()
    assert set(table.content) == {1}
