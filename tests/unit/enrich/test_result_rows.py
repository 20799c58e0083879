"""Test ranking, truncating, naming and grouping of rows into histograms."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pytracer.enrich import decoders
from pytracer.enrich.result_rows import Ranking, ReadTime, shape_rows
from pytracer.model import Schema
from pytracer.model.reduce import Rows
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.spec import Column, Table, Unit, registry
from support.fake_kernel import FakeKernel

SYSCALLS = registry.get("syscalls")
NOW = ReadTime("row", 12.5, 1.0)


def sorted_rows(rows: Rows, sort: str, top: int | None = None, **options: object):
    schema = make_plan(Request(SYSCALLS, options=options), FakeKernel()).schema
    return shape_rows(rows, schema, Ranking(sort, top), decoders({}), NOW)


def calls(*rows: tuple[int, int, int, int]) -> Rows:
    """Return rows of (call, calls, errors, total_ns)."""
    keys = np.array([(row[0],) for row in rows], dtype=[("call", "u8")])
    values = np.array(
        [(*row[1:3], 0, row[3]) for row in rows],
        dtype=[("calls", "u8"), ("errors", "u8"), ("interrupted", "u8"), ("total_ns", "u8")],
    )
    return Rows(keys, values)


READ, WRITE, CLOSE = 0, 1, 3
ROWS = calls((READ, 2, 0, 500), (CLOSE, 9, 3, 90), (WRITE, 5, 1, 2**63))


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("total_ns", ["write", "read", "close"]),
        ("calls", ["close", "write", "read"]),
        ("errors", ["close", "write", "read"]),
        ("avg_ns", ["write", "read", "close"]),
        ("syscall", ["close", "read", "write"]),
    ],
)
def test_numbers_from_the_greatest_names_from_the_first(monkeypatch, sort, order):
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="x86_64"))
    assert sorted_rows(ROWS, sort).columns["syscall"] == order
    assert sorted_rows(ROWS, sort, top=2).columns["syscall"] == order[:2]


def test_values_are_exact_and_a_mean_of_nothing_is_none():
    item = sorted_rows(calls((READ, 3, 1, 2**63 + 1), (WRITE, 0, 0, 0)), "total_ns")
    assert list(item.columns["total_ns"]) == [2**63 + 1, 0]
    assert item.columns["avg_ns"] == [(2**63 + 1) // 3, None]
    assert (item.kind, item.time, item.seconds) == ("row", 12.5, 1.0)


def test_computed_columns_are_made_of_the_keys_beside_those_that_were_counted():
    calls_column = Column("calls", "", unit=Unit.COUNT)
    keys = Column("id", "", field="id"), Column("twice", "", computed=True)
    schema = Schema("fake", keys, (calls_column,), Table("rows", (calls_column,), sort="calls"))
    rows = Rows(np.array([(7,), (9,)], [("id", "u4")]), np.array([(1,), (2,)], [("calls", "u8")]))
    item = shape_rows(
        rows, schema, Ranking("calls"), decoders({}), NOW, {"twice": lambda keys: keys["id"] * 2}
    )
    assert {name: list(values) for name, values in item.columns.items()} == {
        "id": [9, 7],
        "twice": [18, 14],
        "calls": [2, 1],
    }


def test_no_rows():
    assert len(sorted_rows(calls(), "calls")) == 0


def test_histograms_group_slots_and_take_the_latest_name():
    keys = np.array(
        [(7, 56), (7, 64), (8, 57), (7, 81)],
        dtype=[("pid", "u4"), ("slot", "u4")],
    )
    values = np.array(
        [
            (2, 0, 1400, 767, 100, b"old"),
            (3, 0, 4000, 1500, 300, b"new"),
            (9, 0, 6000, 700, 50, b"other"),
            (1, 0, 5000, 5000, 200, b"mid"),
        ],
        dtype=[
            ("calls", "u8"),
            ("errors", "u8"),
            ("total_ns", "u8"),
            ("max_ns", "u8"),
            ("seen", "u8"),
            ("comm", "S16"),
        ],
    )
    item = sorted_rows(Rows(keys, values), "", latency=True, by=("pid",))
    assert list(item.keys["pid"]) == [8, 7]  # the one with more in it first
    assert item.keys["comm"] == ["other", "new"]
    assert {slot: int(count) for slot, count in enumerate(item.counts[1]) if count} == {9: 2, 10: 3, 12: 1}
    assert item.counts.sum() == 15
    assert {name: list(values) for name, values in item.values.items()} == {
        "total_ns": [6000, 10_400],
        "avg_ns": [666, 1733],
        "max_ns": [700, 5000],
        "p50_ns": [607, 1087],
        "p90_ns": [607, 4863],
        "p99_ns": [607, 4863],
        "p999_ns": [607, 4863],
    }
    assert len(sorted_rows(Rows(keys, values), "", top=1, latency=True, by=("pid",))) == 1
    ranked = {
        name: list(sorted_rows(Rows(keys, values), name, latency=True, by=("pid",)).keys["pid"])
        for name in ("pid", "comm", "calls", "total_ns", "avg_ns", "max_ns", "p50_ns")
    }
    assert ranked == {
        "pid": [7, 8],
        "comm": [7, 8],
        "calls": [8, 7],
        "total_ns": [7, 8],
        "avg_ns": [7, 8],
        "max_ns": [7, 8],
        "p50_ns": [7, 8],
    }
    top = sorted_rows(Rows(keys, values), "max_ns", top=1, latency=True, by=("pid",))
    assert (list(top.keys["pid"]), list(top.values["p99_ns"]), top.counts.sum()) == ([7], [4863], 6)
