"""Test draining rows while programs count: none is counted twice, none is lost."""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from bench.work import go

from pytracer.bpf.read import aggregates, maps, rcu
from pytracer.bpf.sys import BpfError, Command, bpf_inout
from pytracer.features.kernel_facts import RunningKernel
from pytracer.model import Item, Snapshot
from pytracer.request import Request
from pytracer.spec import (
    Alternative,
    Column,
    Filter,
    Flag,
    Hook,
    Key,
    Number,
    RawTracepoint,
    Table,
    Tracer,
    Unit,
)
from pytracer.trace.loop import TraceLoop
from support.cli import run
from support.serials import THREAD, calls, losses
from support.workloads import workload

pytestmark = pytest.mark.kernel
CPUS = min(len(os.sched_getaffinity(0)), 4)
OFTEN = 0.001  # seconds: rows are read as often as can be

TRACER = Tracer(
    name="counted",
    group="tests",
    summary="numbered calls, by the last bits of their numbers",
    description="Numbered calls, by the last bits of their numbers.",
    hooks=(
        Hook(
            "call",
            "calls begin",
            (Alternative("raw-tracepoint", (RawTracepoint("enter", event="sys_enter"),)),),
        ),
    ),
    filters=(Filter.PID,),
    options=(
        Number("bits", "how many bits", default=8, define="BITS"),
        Flag("slow", "long programs", define="SLOW"),
    ),
    keys=(Key("number", (Column("number", "its last bits"),)),),
    outputs=(
        Table(
            "rows",
            (Column("calls", "", unit=Unit.COUNT), Column("sum", "of numbers", unit=Unit.COUNT)),
            sort="calls",
        ),
    ),
    source=str(Path(__file__).parents[1] / "support/probes/counted.c"),
)


def collect(
    count: int, *, interval: float | None = OFTEN, rows: int | None = None, **options: object
) -> list[Item]:
    """Return all items of a trace of ``count`` calls on each CPU."""
    with calls(count, CPUS) as process:
        pid = process.pid.to_bytes(4, sys.byteorder)
        request = Request(TRACER, filters={Filter.PID: (pid,)}, options=options, interval=interval, rows=rows)
        with TraceLoop(request, RunningKernel) as trace:
            go(process)
            return list(trace)


def table(items: list[Item], kind: str) -> dict[int, tuple[int, int]]:
    """Return calls and sums by number, over all items of that kind."""
    calls, sums = Counter[int](), Counter[int]()
    for item in items:
        if isinstance(item, Snapshot) and item.kind == kind:
            for row in item.rows():
                calls[row["number"]] += row["calls"]
                sums[row["number"]] += row["sum"]
    return {number: (calls[number], sums[number]) for number in calls}


def expected_rows(count: int, bits: int) -> dict[int, tuple[int, int]]:
    """Return the expected rows in the same form."""
    calls, sums = Counter[int](), Counter[int]()
    for serial in (thread << THREAD | number for thread in range(CPUS) for number in range(count)):
        calls[serial % (1 << bits)] += 1
        sums[serial % (1 << bits)] += serial
    return {number: (calls[number], sums[number]) for number in calls}


def readings(items: list[Item]) -> int:
    """Return how many intervals had something in them."""
    return sum(isinstance(item, Snapshot) and item.kind == "row" and len(item) > 0 for item in items)


def total_calls(items: list[Item]) -> int:
    """Return the calls of the summary."""
    return sum(calls for calls, _ in table(items, "summary").values())


def check(items: list[Item], count: int, bits: int) -> None:
    """Check that intervals add up to the summary, and that the summary is what the workload made.

    Where programs may be preempted (Linux 7.0) the kernel skips runs of whoever comes in between, and counts
    them: of this process's calls those may be missing, and no more.
    """
    assert readings(items) > 2
    lost = losses(items)
    assert set(lost) <= {"missed"}
    actual, expected = table(items, "summary"), expected_rows(count, bits)
    assert table(items, "row") == actual
    if lost:
        assert 0 <= count * CPUS - total_calls(items) <= lost["missed"]
        assert all(calls <= expected[number][0] for number, (calls, _) in actual.items())
    else:
        assert actual == expected


@pytest.mark.lab
def test_a_flood_that_is_read_all_the_time():
    check(collect(200_000, bits=8), 200_000, 8)


def test_rows_that_occur_once_need_room_for_one_interval_only():
    """Each number has a row, the same on all CPUs. A busy machine may make too many in one interval."""
    items = collect(100_000, bits=17, rows=60_000)
    lost = losses(items)
    if not lost:
        check(items, 100_000, 17)
    assert len(table(items, "summary")) > 60_000
    assert total_calls(items) + lost.get("map_full", 0) == 100_000 * CPUS


@pytest.fixture(params=["map", "membarrier"])
def grace_period(request, monkeypatch):
    wait = {"map": rcu.wait_by_map, "membarrier": rcu.wait_by_membarrier}[request.param]
    waits = wait()
    assert waits is not None
    waits.close()
    monkeypatch.setattr(aggregates, "open_grace_period", wait)


@pytest.mark.lab
@pytest.mark.usefixtures("grace_period")
def test_a_drain_waits_for_running_programs():
    check(collect(1000, bits=4, slow=True), 1000, 4)


def test_rows_are_read_one_by_one_without_batch_operations(monkeypatch):
    refused = Counter[int]()

    def old(command: int, attr: bytes) -> tuple[int, bytes]:
        if command in (Command.MAP_LOOKUP_BATCH, Command.MAP_LOOKUP_AND_DELETE_BATCH):
            refused[command] += 1
            raise BpfError(errno.EINVAL, Command.MAP_LOOKUP_BATCH, attr)
        return bpf_inout(command, attr)

    monkeypatch.setattr(maps, "bpf_inout", old)
    check(collect(200_000, bits=8), 200_000, 8)
    assert refused[Command.MAP_LOOKUP_AND_DELETE_BATCH] > 2


def test_without_a_way_to_wait_rows_stay(monkeypatch):
    monkeypatch.setattr(aggregates, "open_grace_period", lambda: None)
    check(collect(200_000, bits=8), 200_000, 8)
    items = collect(20_000, bits=17, rows=4000)
    assert len(table(items, "summary")) == 4000
    assert losses(items) == {"map_full": 20_000 * CPUS - total_calls(items)}


def test_only_rows_that_do_not_fit_between_two_readings_are_lost():
    items = collect(100_000, bits=17, rows=500)
    lost = losses(items)
    assert set(lost) == {"map_full"}
    assert readings(items) >= 2
    assert table(items, "row") == table(items, "summary")
    assert 500 < total_calls(items) == 100_000 * CPUS - lost["map_full"]


def test_rows_are_read_also_where_none_are_shown():
    """More processes than the map has entries run one after the other for some seconds."""
    code = f"for i in $(seq 60); do {workload('calls')} getppid 23; sleep 0.05; done"
    words = ["-f", "json", "--by", "pid", "-e", "getppid", "--max-rows", 40]
    result = run("syscalls", "--strict", *words, "--", "bash", "-c", code)
    assert result.status == 0, result.err
    assert {record["kind"] for record in result.records} == {"summary"}
    calls = [record["calls"] for record in result.of("summary") if record["comm"] == "calls"]
    assert calls == [23] * 60
