"""Test hardirqs and softirqs beside the kernel's own counts (/proc/interrupts, /proc/softirqs).

A reading of the counts just inside of the trace and one just outside of it are the bounds.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.cli import run, start, stop
from support.interrupts import SEEN, make_interrupts

pytestmark = pytest.mark.kernel


def hardirqs():
    """Return how often each interrupt with a number was handled."""
    actual = {}
    for line in Path("/proc/interrupts").read_text().splitlines()[1:]:
        number, _, counts = line.partition(":")
        if number.strip().isdecimal():
            actual[int(number)] = sum(map(int, re.match(r"[\s\d]*", counts)[0].split()))
    return actual


def softirqs():
    """Return how often softirqs of each kind ran."""
    lines = Path("/proc/softirqs").read_text().splitlines()[1:]
    return {
        name.strip(): sum(map(int, counts.split())) for name, _, counts in (x.partition(":") for x in lines)
    }


def compare(tracer, key, counts, *words):
    """Assert that the tracer counted as many of each kind as the kernel between two readings. Returns the
    rows."""
    outside = counts()
    process = start(tracer, "-f", "json", *words, 60)
    after = counts()
    make_interrupts()
    within = {name: count - after.get(name, 0) for name, count in counts().items()}
    result = stop(process)
    upper = {name: count - outside.get(name, 0) for name, count in counts().items()}
    assert result.status == 0, result.err
    rows = {row[key]: row for row in result.of("summary")}
    missed = sum(loss["lost"] for loss in result.of("loss"))
    for name, minimum in within.items():
        own_count = rows[name]["count"] if name in rows else 0
        assert SEEN * minimum - missed <= own_count <= upper[name], name
    assert rows
    for row in rows.values():
        assert row["max_ns"] <= row["total_ns"]
        assert row["total_ns"] <= row["count"] * row["max_ns"]
    return rows


@pytest.mark.smoke
@pytest.mark.lab
def test_hardirqs_are_those_that_the_kernel_counts():
    rows = compare("hardirqs", "irq", hardirqs)
    assert all(row["name"] for row in rows.values())


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", [pytest.param("raw-tracepoint", marks=pytest.mark.smoke), "tracepoint"]
)
def test_softirqs_are_those_that_the_kernel_counts(alternative):
    rows = compare("softirqs", "softirq", softirqs, "--hook", f"softirq={alternative}")
    assert rows["NET_RX"]["count"] >= SEEN * 101 // 2


def test_waits_of_softirqs():
    result = run("softirqs", "--wait", "--latency", "-f", "json", "-d", "0.5")
    assert result.status == 0, result.err
    for row in result.of("summary"):
        assert sum(bucket["count"] for bucket in row["duration_ns"]) == row["count"]


@pytest.mark.parametrize("tracer", ["hardirqs", "softirqs"])
@pytest.mark.parametrize("key", ["cpu", None])
def test_keys_of_rows(tracer, key):
    words = ["--by", key] if key else ["--latency"]
    result = run(tracer, "-f", "json", *words, "-d", "0.5")
    assert result.status == 0, result.err
    assert all((key or "duration_ns") in row for row in result.of("summary"))
