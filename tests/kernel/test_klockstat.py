"""Test klockstat against locks that are held for a known time: the mutex of a pipe, the rwsem of a file.

A thread writes to the pipe or file from memory that is not there yet; the fault, under the lock, is handled
by userfaultfd, 50 ms later. Meanwhile another thread reads from the pipe, or writes to the file, and waits
for the lock.
"""

from __future__ import annotations

import json
import sys

import pytest

from support.cli import run
from support.lock_waits import ROUNDS, WORKLOAD
from support.needs import was_refused

pytestmark = pytest.mark.kernel
# Functions that only the wanted stacks have: other locks of the process are waited for, too. The fault under
# the lock takes that of the address space, which a task that is preempted holds for longer than --min.
FAULT = "page_fault"
FUNCTIONS = {"pipe": ("pipe_read", "pipe_write"), "file": ("write_iter",)}
TYPES = {"pipe": "mutex", "file": "rwsem"}


def rows(lock, *words):
    """Return the rows of the lock, what the threads measured, no less than was held and waited for, and the
    number of runs of programs that the kernel skipped: another task had been preempted in the same one."""
    result = run("klockstat", *words, "-f", "json", "--", sys.executable, "-c", WORKLOAD, lock)
    assert result.status == 0, result.err
    lost = {loss["reason"]: loss["lost"] for loss in result.of("loss")}
    assert lost.keys() <= {"missed"}
    rows = [
        row
        for row in result.of("summary")
        if any(name in frame for frame in row["kernel"] for name in FUNCTIONS[lock])
        and not any(FAULT in frame for frame in row["kernel"])
    ]
    return rows, json.loads(result.err.splitlines()[0]), lost.get("missed", 0)


def is_all(count, total, measured, missed):
    """Return whether these are as many, and as long, as the threads measured them; each run that was skipped
    may be one of them."""
    return ROUNDS - missed <= count <= ROUNDS and count * 50_000_000 <= total <= sum(measured)


@pytest.mark.lab
@pytest.mark.parametrize("lock", ["pipe", "file"])
@pytest.mark.parametrize(
    "alternative", [pytest.param("raw-tracepoint", marks=pytest.mark.smoke), "fexit", "kprobe"]
)
def test_a_lock_that_is_held_for_50_ms_is_waited_for_as_long(lock, alternative):
    hook = ["--hook", f"contention={alternative}"]
    if was_refused(run("klockstat", "--dry-run", *hook), {"contention": alternative}):
        return
    actual, times, missed = rows(lock, *hook, "--by", "type,lock,comm,pid,holder", "--min", "10ms")
    [key] = {(row["type"], row["comm"], row["pid"], row["holder"], row["holder_comm"]) for row in actual}
    assert key == (TYPES[lock], "waits", times["pid"], times["pid"], "holds\x1b")
    assert len({row["lock"] for row in actual}) == 1
    # No longer than the reader itself measured, from before its call until it ran again.
    waits, total = (sum(row[name] for row in actual) for name in ("waits", "total_ns"))
    assert is_all(waits, total, times["waits"], missed)


@pytest.mark.lab
@pytest.mark.parametrize("lock", ["pipe", "file"])
@pytest.mark.parametrize("alternative", ["fexit", "kprobe"])
def test_a_lock_that_is_held_for_50_ms_is_seen_to_be_held_as_long(lock, alternative):
    hook = ["--hook", f"held={alternative}"]
    if was_refused(run("klockstat", "--held", "--dry-run", *hook), {"held": alternative}):
        return
    actual, times, missed = rows(lock, "--held", *hook, "--by", "type,lock,comm", "--min", "10ms")
    holder_rows = [row for row in actual if row["comm"].startswith("holds")]
    waits = [row for row in actual if row["comm"] == "waits"]  # they may hold it long, where CPUs are scarce
    assert {row["type"] for row in holder_rows + waits} == {TYPES[lock]}
    assert len({row["lock"] for row in holder_rows + waits}) == 1
    assert not any(row["waits"] for row in holder_rows)
    held = sum(row["holds"] for row in holder_rows), sum(row["held_ns"] for row in holder_rows)
    waited = sum(row["waits"] for row in waits), sum(row["total_ns"] for row in waits)
    assert is_all(*held, times["holds"], missed)
    assert is_all(*waited, times["waits"], missed)


def test_only_long_waits():
    actual, _, _ = rows("pipe", "--min", "10s")
    assert actual == []
