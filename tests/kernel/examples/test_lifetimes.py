"""Test lifetimes against a shell that starts a known number of processes, one of which sleeps."""

from __future__ import annotations

import pytest

from support.cli import run
from support.strangers import run_for_one

pytestmark = pytest.mark.kernel
SHELL = "sleep 0.2 & i=1; while [ $i -lt 23 ]; do /bin/true & i=$((i+1)); done; wait"


@pytest.mark.lab
@pytest.mark.parametrize("words", [[], ["--hook", "exit=tracepoint"]])
def test_every_process_is_in_the_histogram(words):
    result = run("lifetimes", "-f", "json", *words, "--", "sh", "-c", SHELL)
    assert result.status == 0, result.err
    [record] = result.of("summary")
    lost = sum(loss["lost"] for loss in result.of("loss"))  # Linux 7.0 preempts programs on raw tracepoints
    assert 24 - lost <= record["processes"] <= 24  # the shell and its children
    buckets = record["lifetime_ns"]
    assert sum(bucket["count"] for bucket in buckets) == record["processes"]
    # The one that sleeps, and the shell, which waits for it.
    assert sum(bucket["count"] for bucket in buckets if bucket["high"] > 200_000_000) >= 2
    assert 400_000_000 <= record["total_ns"] <= 24 * record["max_ns"]


def test_another_process_is_not_counted():
    result, _ = run_for_one("lifetimes", script=SHELL)
    assert result.status == 0, result.err
    lost = sum(loss["lost"] for loss in result.of("loss"))
    assert 1 - lost <= sum(record["processes"] for record in result.of("summary")) <= 1
