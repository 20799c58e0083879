"""Test timelines of real runs, read back: equal to the JSON of the same run, to the nanosecond."""

from __future__ import annotations

import json

import pytest

import pytracer
from support.cli import run
from support.timelines import FORMATS, read, timeline, write_items
from support.workloads import workload

pytestmark = pytest.mark.kernel
GC = "import gc; gc.disable(); [gc.collect() for _ in range(7)]"


def run_formats(tracer, *arguments, command, **options):
    """Run a tracer in all formats. Returns its rows from the JSON, and its timelines."""
    with pytracer.open(tracer, *arguments, command=command, **options) as trace:
        items = list(trace)
    assert trace.lost == 0
    rows = [json.loads(line) for line in write_items("json", trace.schema, *items).splitlines()]
    return rows, [timeline(form, trace.schema, *items) for form in FORMATS]


def test_latencies_are_slices():
    script = "for i in 1 2 3 4 5 6 7; do sync /etc/hostname; done"
    rows, timelines = run_formats("syncsnoop", command=["sh", "-c", script])
    expected = sorted(
        (row["pid"], row["time_ns"] - row["took_ns"], row["time_ns"], row["call"]) for row in rows
    )
    assert len(expected) == 7
    for actual in timelines:
        assert sorted((track[0], *fields) for track, *fields in actual.slices) == expected
        assert set(actual.names.values()) == {"sync"}


def test_pairs_of_probes_are_slices():
    specs = ('t:raw_syscalls:sys_enter "%d", id', 't:raw_syscalls:sys_exit "%d", id')
    rows, timelines = run_formats("trace", *specs, command=[workload("calls"), "getppid", "23"])
    begins, expected = {}, []
    for row in rows:
        thread = (row["pid"], row["tid"])
        if row["probe"].endswith("enter"):
            begins[thread] = row
        elif begin := begins.pop(thread, None):
            expected.append((thread, begin["time_ns"], row["time_ns"], f"sys {begin['id']}"))
    assert sum(name == "sys 110" for *_, name in expected) == 23
    for actual in timelines:
        assert sorted(actual.slices) == sorted(expected)


def test_garbage_collections_are_slices(tmp_path):
    out = tmp_path / "gc.pftrace"
    probes = [f"usdt:/usr/bin/python3:gc__{end}" for end in ("start", "done")]
    result = run("trace", *probes, "-f", "perfetto", "-o", out, "--", "/usr/bin/python3", "-c", GC)
    assert result.status == 0, result.err
    parsed = read(out.read_bytes())
    assert len([name for *_, name in parsed.slices if name == "gc"]) >= 7
    assert not parsed.instants


def test_tables_are_counters():
    command = [workload("calls"), "getppid", "23"]
    rows, timelines = run_formats("syscalls", command=command, interval=0.05)
    expected = {
        ("getppid calls", row["calls"]) for row in rows if (row["kind"], row["syscall"]) == ("row", "getppid")
    }
    assert sum(calls for _, calls in expected) == 23
    for actual in timelines:
        assert {(name, value) for name, _, value in actual.counters if name == "getppid calls"} == expected


def test_stacks_have_no_timeline():
    result = run("profile", "-f", "perfetto", "-d", 1)
    assert result.status == 2
    assert "invalid choice: 'perfetto'" in result.err
