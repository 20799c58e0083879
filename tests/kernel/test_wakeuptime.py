"""Test wakeuptime against threads that wake each other, and timers that do, a known number of times."""

from __future__ import annotations

import sys

import pytest

from support.cli import run
from support.wakers import PIPES, ROUNDS, TIMERS, is_count

pytestmark = pytest.mark.kernel


def rows(code, *words):
    words = ["--by", "woken,comm,pid", *words]
    result = run("wakeuptime", "--min", "5ms", "-f", "json", *words, "--", sys.executable, "-c", code)
    assert result.status == 0, result.err
    return result.of("summary")


@pytest.mark.smoke
@pytest.mark.lab
def test_a_thread_is_woken_by_the_one_that_writes():
    actual = [row for row in rows(PIPES) if row["woken"] == "sleeper"]
    by_waker = [row for row in actual if row["comm"] == "waker\n\x1b[31m"]
    assert is_count(sum(row["count"] for row in by_waker), ROUNDS + 1)  # the last is the close
    assert sum(row["count"] for row in actual) == sum(row["count"] for row in by_waker)
    writer_rows = [row for row in by_waker if any("write" in frame for frame in row["kernel"])]
    assert is_count(sum(row["count"] for row in writer_rows), ROUNDS)
    assert sum(row["total_ns"] for row in by_waker) >= ROUNDS * 5_000_000
    assert len({row["pid"] for row in by_waker}) == 1


def test_a_timer_is_not_the_task_that_it_interrupts():
    """A timer ends every sleep, and interrupts a process that spins."""
    busy_loop = (
        "import os, time\nif not os.fork():\n    while time.process_time() < 0.3: pass\n    os._exit(0)\n"
    )
    actual = rows(busy_loop + TIMERS)
    assert {(row["comm"], row["pid"]) for row in actual} == {(None, None)}
    assert not any(row["kernel"] or row["user"] for row in actual)
    assert is_count(sum(row["count"] for row in actual), ROUNDS)


def test_only_sleeps_within_bounds():
    assert rows(TIMERS, "--max", "6ms") == []
    assert rows(TIMERS, "--uninterruptible") == []


def test_hostile_names_stay_text():
    result = run("wakeuptime", "--min", "5ms", "--", sys.executable, "-c", PIPES)
    assert "\x1b" not in result.out
    assert "waker\\n\\x1b[31m" in result.out
