"""Test cpudist beside the kernel's own sum of time on a CPU (/proc/PID/schedstat), and known sleeps."""

from __future__ import annotations

import pytest

from support import cpu_contention
from support.cli import run

pytestmark = pytest.mark.kernel


@pytest.mark.smoke
@pytest.mark.lab
def test_time_on_a_cpu_equals_the_kernels_count():
    result = run("cpudist", "--by", "pid", "-f", "json", "--", *cpu_contention.command())
    assert result.status == 0, result.err
    rows = {record["pid"]: record for record in result.of("summary")}
    kernel = cpu_contention.read_counts(result.err)
    assert len(kernel) == 3
    for pid, numbers in kernel.items():
        assert cpu_contention.is_count(rows[pid]["stays"], numbers.runs)
        assert cpu_contention.is_close(rows[pid]["total_ns"], numbers.on_cpu)


def test_time_off_a_cpu():
    sleeps = 23
    result = run("cpudist", "--off", "--by", "pid", "-f", "json", "--", *cpu_contention.command(1, sleeps))
    assert result.status == 0, result.err
    [pid] = cpu_contention.read_counts(result.err)
    [row] = [record for record in result.of("summary") if record["pid"] == pid]
    assert row["stays"] >= sleeps
    assert row["total_ns"] >= sleeps * 10_000_000
    long = sum(bucket["count"] for bucket in row["duration_ns"] if bucket["high"] > 10_000_000)
    assert long >= sleeps
