"""Test that a child's end is seen, by a pidfd or without (before Linux 5.3)."""

from __future__ import annotations

import os
import time

import pytest

from pytracer.bpf.compile.forked import run_in_child


@pytest.fixture(autouse=True, params=["pidfd", "no pidfd"])
def _pidfd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> int:
        raise OSError(38, "no")

    if request.param != "pidfd":
        monkeypatch.setattr(os, "pidfd_open", absent)


def test_the_result_of_a_child_comes_back() -> None:
    result = run_in_child(lambda: b"x" * 100_000)
    assert (result.data, result.status, result.exit_reason) == (b"x" * 100_000, 0, "")


def test_the_death_of_a_child_is_reported() -> None:
    result = run_in_child(lambda: os.kill(os.getpid(), 9) or b"")
    assert (result.data, result.exit_reason) == (b"", "died of SIGKILL")


def test_a_child_is_killed_if_the_end_is_requested() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_in_child(lambda: time.sleep(60) or b"", stop_requested=lambda: True)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
