"""Test runqlat and runqslower beside the kernel's own sum of waits (/proc/PID/schedstat)."""

from __future__ import annotations

import pytest

from support import cpu_contention
from support.cgroups import cgroup, run_in
from support.cli import run, start, stop
from support.interrupts import SEEN

pytestmark = pytest.mark.kernel


@pytest.mark.smoke
@pytest.mark.lab
def test_waits_are_those_that_the_kernel_counts():
    result = run("runqlat", "--by", "pid", "-f", "json", "--", *cpu_contention.command())
    assert result.status == 0, result.err
    rows = {record["pid"]: record for record in result.of("summary")}
    kernel = cpu_contention.read_counts(result.err)
    assert len(kernel) == 3
    for pid, numbers in kernel.items():
        row = rows[pid]
        assert cpu_contention.is_count(row["waits"], numbers.runs)
        assert cpu_contention.is_close(row["total_ns"], numbers.waiting)
        assert sum(bucket["count"] for bucket in row["latency_ns"]) == row["waits"]
    assert max(rows[pid]["max_ns"] for pid in kernel) > 1_000_000  # three processes, one CPU


@pytest.mark.smoke
@pytest.mark.lab
def test_each_wait_is_shown():
    result = run("runqslower", "--min", "0", "-f", "json", "--", *cpu_contention.command())
    assert result.status == 0, result.err
    kernel = cpu_contention.read_counts(result.err)
    assert len(kernel) == 3
    for pid, numbers in kernel.items():
        waits = [event for event in result.of("event") if event["pid"] == pid]
        assert cpu_contention.is_count(len(waits), numbers.runs)
        assert cpu_contention.is_close(sum(event["wait_ns"] for event in waits), numbers.waiting)
        assert {event["tid"] for event in waits} == {pid}


def test_only_long_waits_are_shown():
    result = run("runqslower", "--min", "1ms", "-f", "json", "--", *cpu_contention.command())
    assert result.status == 0, result.err
    waits = [event["wait_ns"] for event in result.of("event")]
    assert waits
    assert min(waits) >= 1_000_000


@pytest.mark.parametrize("words", [["--by", "comm"], ["--by", "cpu"], []])
def test_keys_of_histograms(words):
    result = run("runqlat", *words, "-f", "json", "--", *cpu_contention.command(2))
    assert result.status == 0, result.err
    rows = result.of("summary")
    runs = sum(numbers.runs for numbers in cpu_contention.read_counts(result.err).values())
    assert sum(row["waits"] for row in rows) >= 0.9 * runs
    if not words:
        assert len(rows) == 1
    else:
        assert all(words[1] in row for row in rows)


def test_filters_look_at_the_task_that_waits():
    """A timer interrupt wakes the task, whichever task runs then; a process outside the cgroup does the
    same."""
    sleeps = "import time\nfor _ in range(23):\n    time.sleep(0.005)\n"
    with cgroup() as folder:
        tracer = start("runqlat", "-f", "json", "--cgroup", folder, "--by", "pid", 60)
        run_in(folder.parent, sleeps)
        waiter = run_in(folder, sleeps)
        result = stop(tracer)
    assert result.status == 0, result.err
    [row] = result.of("summary")
    assert row["pid"] == waiter
    assert row["waits"] >= SEEN * 23
