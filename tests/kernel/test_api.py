"""pytracer.open on a real kernel."""

from __future__ import annotations

import asyncio

import pytest

import pytracer
from pytracer.model import Snapshot
from support.workloads import workload

pytestmark = pytest.mark.kernel


def getppids(items) -> int:
    """How many calls of that name the last of the items, the whole run, has."""
    assert isinstance(items[-1], Snapshot)
    assert items[-1].kind == "summary"
    return sum(row["calls"] for row in items[-1].rows() if row["syscall"] == "getppid")


def test_a_command_is_traced_to_its_end():
    with pytracer.open("syscalls", command=[workload("calls"), "getppid", "23"]) as trace:
        assert [column.name for column in trace.schema.columns][:2] == ["syscall", "calls"]
        items = list(trace)
    assert getppids(items) == 23
    assert (trace.status, trace.lost) == (0, 0)


def test_intervals_and_async_iteration():
    async def run():
        with pytracer.open("syscalls", command=[workload("calls"), "getppid", "23"], interval=0.05) as trace:
            return [item async for item in trace]

    items = asyncio.run(run())
    assert getppids(items) == 23
    rows = [item for item in items[:-1] if isinstance(item, Snapshot)]
    assert {item.kind for item in rows} == {"row"}
    assert sum(row["calls"] for item in rows for row in item.rows() if row["syscall"] == "getppid") == 23
