"""Test forkstacks against a shell that starts a known number of processes."""

from __future__ import annotations

import pytest

from support.cli import run
from support.strangers import run_for_one

pytestmark = pytest.mark.kernel
SHELL = "i=0; while [ $i -lt 23 ]; do /bin/true & i=$((i+1)); done; wait"


@pytest.mark.lab
@pytest.mark.parametrize("words", [[], ["--hook", "fork=tracepoint"]])
def test_every_fork_has_a_stack(words):
    result = run("forkstacks", "-f", "json", *words, "--", "sh", "-c", SHELL)
    assert result.status == 0, result.err
    assert {record["comm"] for record in result.records} == {"sh"}
    assert sum(record["forks"] for record in result.records) == 23
    assert all(any("clone" in frame for frame in record["kernel"]) for record in result.records)


def test_forks_of_another_process_are_not_counted():
    result, pid = run_for_one("forkstacks", script=SHELL)
    assert result.status == 0, result.err
    assert {record["pid"] for record in result.of("summary")} == {pid}
    assert sum(record["forks"] for record in result.of("summary")) == 23
