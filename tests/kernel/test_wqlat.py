"""Test wqlat against work that /proc/sys/vm/stat_refresh has done on each CPU: one item for each, each
time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.cli import start, stop

pytestmark = pytest.mark.kernel
TIMES = 23
WORK = Path("/proc/sys/vm/stat_refresh")


def summary(*words):
    tracer = start("wqlat", "-f", "json", *words)
    for _ in range(TIMES):
        WORK.read_bytes()
    result = stop(tracer, signal.SIGTERM)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result.of("summary")


@pytest.mark.smoke
@pytest.mark.lab
def test_each_work_item_is_counted_once():
    [row] = [row for row in summary() if row["function"] == "refresh_vm_stats"]
    assert row["items"] == TIMES * os.cpu_count()
    assert 0 < row["max_wait_ns"] <= row["wait_ns"]
    assert row["run_ns"] > 0


def test_work_is_counted_by_workqueue_and_cpu():
    rows = summary("--by", "function,workqueue,cpu")
    own_rows = {row["cpu"]: row for row in rows if row["function"] == "refresh_vm_stats"}
    assert {cpu: row["items"] for cpu, row in own_rows.items()} == dict.fromkeys(range(os.cpu_count()), TIMES)
    assert {row["workqueue"] for row in own_rows.values()} == {"events"}  # schedule_on_each_cpu


def test_histograms_have_each_item():
    [row] = [row for row in summary("--latency") if row["function"] == "refresh_vm_stats"]
    assert row["items"] == TIMES * os.cpu_count()
    assert sum(bucket["count"] for bucket in row["latency_ns"]) == row["items"]
