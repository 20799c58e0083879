"""Test reports of events a second, and of losses, while a stream is written."""

from __future__ import annotations

import io

import numpy as np
import pytest

from pytracer.cli import rates
from pytracer.model import Batch, Loss
from pytracer.sinks import make_sink
from support.view_items import schema

OPENSNOOP = schema("opensnoop")


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(rates.time, "monotonic", lambda: now[0])
    return now


def batch(count):
    return Batch((), np.zeros(count, dtype=[("ns", "u8")]), np.zeros(count, dtype="i8"), lambda _n, _r: [])


class Counter:
    """A sink that keeps its items."""

    def __init__(self):
        self.items = []

    def open(self, schema):
        self.schema = schema

    def emit(self, item):
        self.items.append(item)

    def close(self):
        self.items.append(None)


def test_each_second_and_in_all(clock):
    messages, expected = [], Counter()
    sink = rates.RateSink(expected, messages.append)
    sink.open(OPENSNOOP)
    sink.emit(batch(10))
    assert messages == []
    clock[0] += 2
    sink.emit(batch(30))
    sink.emit(Loss("ring_full", 7, "events", 0.0))
    assert messages == ["20 events/s, 0 lost so far"]
    clock[0] += 0.5
    sink.close()
    assert messages[1:] == ["40 events in 2.5 s, 7 lost"]
    assert len(expected.items) == 4


def test_tables_have_no_rate(clock):
    messages = []
    sink = rates.RateSink(make_sink("json", io.StringIO(), timestamps=False, terminal=False), messages.append)
    sink.open(schema("syscalls"))
    clock[0] += 5
    sink.emit(Loss("map_full", 7, "rows", 0.0))
    sink.close()
    assert messages == []
