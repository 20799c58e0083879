"""Test offwaketime against threads that wake each other, and timers that do, a known number of times."""

from __future__ import annotations

import re
import sys

import pytest

from support.cli import run
from support.wakers import CHAIN, PIPES, ROUNDS, TIMERS, is_count

pytestmark = pytest.mark.kernel


def sleep_stacks(code, *words):
    result = run("offwaketime", "--min", "5ms", *words, "--", sys.executable, "-c", code)
    assert result.status == 0, result.err
    return result


def rows(code, *words):
    result = sleep_stacks(code, "-f", "json", "--by", "pid,comm,waker_pid,waker", *words)
    assert not result.of("loss")
    return result.of("summary"), result.err


def names(row, part, name):
    return any(name in frame for frame in row[part])


def frame_index(frames, name):
    """Return the index of the first frame whose name contains a text, or -1."""
    return next((number for number, frame in enumerate(frames) if name in frame), -1)


@pytest.mark.smoke
@pytest.mark.lab
def test_rows_have_the_stacks_of_sleeper_and_waker():
    actual, messages = rows(PIPES)
    [ids] = re.findall(r"^(\d+) (\d+)$", messages, re.M)  # beside pytracer's messages
    waker, child = map(int, ids)
    # It may wait for a lock of its memory, too, which khugepaged holds.
    slept = [row for row in actual if row["comm"] == "sleeper" and names(row, "kernel", "pipe_read")]
    assert {row["pid"] for row in slept} == {child}
    # Never a bystander: all sleeps are ended by the process at the other end of the pipe.
    assert {(row["waker_pid"], row["waker"]) for row in slept} == {(waker, "waker\n\x1b[31m")}
    writer_rows = [row for row in slept if names(row, "waker_kernel", "write")]
    assert is_count(sum(row["count"] for row in writer_rows), ROUNDS)
    assert is_count(sum(row["count"] for row in slept), ROUNDS + 1)  # the last is the close
    assert sum(row["total_ns"] for row in writer_rows) >= (ROUNDS - 3) * 5_000_000
    for row in writer_rows:
        assert names(row, "kernel", "read")
        assert names(row, "kernel", "schedule")
        assert not names(row, "kernel", "write")
        assert row["user"]
        assert row["waker_user"]


def test_a_timer_is_not_the_task_that_it_interrupts():
    """A timer ends every sleep, and interrupts a process that spins."""
    busy_loop = (
        "import os, time\nif not os.fork():\n    while time.process_time() < 0.3: pass\n    os._exit(0)\n"
    )
    actual, _ = rows(busy_loop + TIMERS)
    slept = [row for row in actual if names(row, "kernel", "nanosleep")]
    slept = [row for row in slept if row["waker"] is not None]
    assert {(row["waker"], row["waker_pid"]) for row in slept} == {("[interrupt]", None)}
    assert not any(row["waker_kernel"] or row["waker_user"] for row in slept)
    assert is_count(sum(row["count"] for row in slept), ROUNDS)


@pytest.mark.lab
def test_a_chain_leads_to_what_began_it():
    """A timer wakes the first process, which wakes the second by a pipe, and that the third."""
    result = sleep_stacks(CHAIN, "-f", "json", "--depth", "4", "-K")
    assert not result.of("loss")
    third = [row for row in result.of("summary") if row["comm"] == "third"]
    assert is_count(sum(row["count"] for row in third), ROUNDS + 1)  # the last is the close
    assert ROUNDS * 20_000_000 <= sum(row["total_ns"] for row in third) <= result.lines[0]["interval_ns"]
    written = [row for row in third if names(row, "waker_kernel", "write")]
    assert {(row["waker"], row["waker2"], row["waker4"]) for row in written} == {("second", "first", None)}
    assert {row["waker3"] for row in written} <= {"[interrupt]", None}
    by_timer = [row for row in written if row["waker3"] is not None]
    assert is_count(sum(row["count"] for row in by_timer), ROUNDS)
    for row in by_timer:
        assert names(row, "waker2_kernel", "write")
        assert not row["waker3_kernel"]
        assert not row["waker4_kernel"]
    [first] = {row["waker2"] for row in result.of("summary") if row["comm"] == "second"} - {None}
    assert first == "[interrupt]"


def test_chains_are_shown_one_below_the_other():
    table = sleep_stacks(CHAIN, "--depth", "2", "-K").out
    [stack] = [part for part in table.split("\n\n") if "comm third, waker second, waker2 first" in part][:1]
    assert stack.count("  -- woken by\n") == 2
    folded = sleep_stacks(CHAIN, "--depth", "2", "-K", "-f", "folded").out
    assert any(
        line.startswith("third;second;first;") and line.count(";--;") == 2 for line in folded.splitlines()
    )
    refused = run("offwaketime", "--depth", "5")
    assert refused.status == 2


def test_folded_lines_and_tables_have_both_and_are_text():
    folded = sleep_stacks(PIPES, "-f", "folded", "-K").out
    assert "\x1b" not in folded
    lines = [line for line in folded.splitlines() if line.startswith("sleeper;waker\\n\\x1b[31m;")]
    frames = [line.rpartition(" ")[0].split(";")[2:] for line in lines]
    assert any("--" in stack for stack in frames)
    for stack in frames:
        blocked, woken = stack[: stack.index("--")], stack[stack.index("--") + 1 :]
        assert frame_index(blocked, "read") < frame_index(blocked, "schedule")  # innermost last
        assert frame_index(woken, "wake") < max(
            frame_index(woken, "write"), frame_index(woken, "release")
        )  # innermost first
    table = sleep_stacks(PIPES, "-K").out
    assert "\x1b" not in table
    assert "  -- woken by\n" in table
    assert "waker waker\\n\\x1b[31m" in table


def test_only_times_within_bounds():
    assert rows(TIMERS, "--max", "6ms")[0] == []
