"""Test runqlen against processes that fight for one CPU, and the scheduler's own account of its queue."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest

from support import cpu_contention
from support.cli import run, start, stop

pytestmark = pytest.mark.kernel
SPINNERS = 5
SPIN = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
print("spins", flush=True)
while True:
    pass
"""


@contextlib.contextmanager
def spinning(cpu):
    """Run processes in sessions of their own: autogroup, if it is on, puts each into another task group."""
    words = [sys.executable, "-c", SPIN, str(cpu)]
    with contextlib.ExitStack() as stack:
        for _ in range(SPINNERS):
            process = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
            stack.callback(process.stdout.close)
            stack.callback(process.wait)
            stack.callback(process.kill)
            assert process.stdout.readline() == b"spins\n"
        yield


def sampled(*words):
    tracer = start("runqlen", "-f", "json", "--by", "cpu,length", *words, 60)
    # The samples of a run, which a known time of some CPU bounds.
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True)
    result = stop(tracer)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result.of("summary")


@pytest.mark.smoke
@pytest.mark.lab
def test_the_run_queue_holds_the_competing_tasks():
    """The running process does not wait; a host may run other tasks on this CPU."""
    cpu = max(os.sched_getaffinity(0))
    with spinning(cpu):
        rows = [row for row in sampled("-F", 499) if row["cpu"] == cpu]
    total = sum(row["samples"] for row in rows)
    assert total >= 50
    # Not every sample: the counters of a queue are read one after the other and without its lock, while
    # another CPU may be changing them (it wakes a task up for this one); a spinner may wait for a page, too.
    as_many = sum(row["samples"] for row in rows if row["length"] >= SPINNERS - 1)
    assert as_many >= 0.95 * total
    if cpu_contention.LAB:
        at_least = sum(row["samples"] for row in rows if row["length"] <= SPINNERS + 1)
        assert at_least >= 0.5 * total


def test_every_cpu_is_sampled_as_often():
    rows = sampled("-F", 499)
    counts = {cpu: sum(row["samples"] for row in rows if row["cpu"] == cpu) for cpu in range(os.cpu_count())}
    assert min(counts.values()) > 0
    if cpu_contention.LAB:  # a machine may run no program while a task of its own agent is current
        assert max(counts.values()) <= 1.5 * min(counts.values())


def test_only_lengths():
    result = run("runqlen", "-f", "json", "-d", 1)
    assert result.status == 0, result.err
    rows = result.of("summary")
    assert len({row["length"] for row in rows}) == len(rows) > 0
    assert not any("cpu" in row for row in rows)
