"""Test forkcount against a shell that starts a known number of processes."""

from __future__ import annotations

import pytest

from support.cli import run
from support.strangers import run_for_one

pytestmark = pytest.mark.kernel
SHELL = "i=0; while [ $i -lt 23 ]; do /bin/true & i=$((i+1)); done; wait"


@pytest.mark.lab
@pytest.mark.parametrize("words", [[], ["--hook", "fork=tracepoint"]])
def test_every_fork_is_counted(words):
    result = run("forkcount", "-f", "json", *words, "--", "sh", "-c", SHELL)
    assert result.status == 0, result.err
    assert result.records == [{"kind": "summary", "comm": "sh", "forks": 23}]


def test_forks_of_another_process_are_not_counted():
    result, pid = run_for_one("forkcount", "--by", "pid", script=SHELL)
    assert result.status == 0, result.err
    assert result.of("summary") == [{"kind": "summary", "pid": pid, "forks": 23}]
