"""Test the locks of kernel tests: many side by side or one alone, and messages about whom a test waits
for."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.turns import Turn, holders, is_sibling

HOLD = """
import sys
from support.turns import Turn
turn = Turn(lambda line: print("waits", flush=True), *sys.argv[2:])
turn.take(is_exclusive=sys.argv[1] == "alone")
print("has", flush=True)
sys.stdin.read()
turn.close()
"""


@pytest.fixture
def places(tmp_path):
    paths = [tmp_path / "turn", tmp_path / "door"]
    for path in paths:
        path.mkdir()
    return [str(path) for path in paths]


@contextlib.contextmanager
def other(mode, places):
    """Start a process of another run that holds the lock, or waits for it."""
    tests = str(Path(__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, mode, *places],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": tests, "PYTEST_XDIST_WORKER": ""},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_shared_runs_run_side_by_side(places):
    with other("beside", places) as process:
        assert process.stdout.readline() == "has\n"
        messages = []
        turn = Turn(messages.append, *places)
        turn.take(is_exclusive=False)
        turn.close()
        assert messages == []


@pytest.mark.parametrize(("first", "is_exclusive"), [("alone", False), ("beside", True), ("alone", True)])
def test_an_exclusive_run_is_waited_for_and_the_wait_is_reported(places, first, is_exclusive):
    with other(first, places) as process:
        assert process.stdout.readline() == "has\n"
        messages = []

        def say(line):
            messages.append(line)
            process.stdin.close()  # which ends its turn

        turn = Turn(say, *places)
        turn.take(is_exclusive=is_exclusive)
        turn.close()
        assert messages == [f"waiting for the kernel tests of process {process.pid} in {Path.cwd()}"]


def test_a_waiting_exclusive_test_precedes_later_ones(places):
    turn = Turn(lambda line: None, *places)
    turn.take(is_exclusive=False)
    with other("alone", places) as first:
        assert first.stdout.readline() == "waits\n"
        with other("beside", places) as later:
            assert later.stdout.readline() == "waits\n"  # behind the one that is not yet alone
            turn.close()
            assert first.stdout.readline() == "has\n"
            first.stdin.close()
            assert "has\n" in later.stdout  # it may wait for the other's turn, too, if it passed the door


def test_a_turn_is_given_up_for_one_of_the_other_kind(places):
    turn = Turn(lambda line: None, *places)
    turn.take(is_exclusive=False)
    with other("alone", places) as process:
        assert process.stdout.readline() == "waits\n"
        process.stdin.close()
        turn.take(is_exclusive=True)
        assert process.stdout.readline() == "has\n"
    turn.close()


def test_workers_of_one_run_are_identified_by_their_parent(monkeypatch, places):
    with other("beside", places) as process:
        assert process.stdout.readline() == "has\n"
        descriptor = os.open(places[0], os.O_RDONLY)
        assert holders(descriptor) == [process.pid]
        os.close(descriptor)
        monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
        monkeypatch.setattr(os, "getppid", os.getpid)
        assert is_sibling(process.pid)
        assert not is_sibling(1)
        monkeypatch.delenv("PYTEST_XDIST_WORKER")
        assert not is_sibling(process.pid)
