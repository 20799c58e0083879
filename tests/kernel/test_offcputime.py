"""Test offcputime against a process that sleeps a known number of times."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import pytracer
from support import cpu_contention
from support.cli import LIMIT, run

pytestmark = pytest.mark.kernel
SLEEPS = 23
# Blocks until its input has a line, twice, and exits from a loop in which it neither blocks nor is preempted.
BLOCKS = """
import os, sys
sys.stdin.readline()
sys.stdin.readline()
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
os.write(1, b"spins\\n")
while not os.path.exists(sys.argv[1]): pass
os._exit(0)
"""
COMMAND = [sys.executable, "-c", f"import time\nfor _ in range({SLEEPS}): time.sleep(0.01)"]


def sleeping(records):
    """Return the rows of the process's sleep: in a system call of its own."""
    return [row for row in records if any("nanosleep" in frame for frame in row["kernel"])]


@pytest.mark.smoke
@pytest.mark.lab
def test_each_sleep_is_added_up_by_its_stack():
    result = run("offcputime", "--blocked", "-K", "-f", "json", "--", *COMMAND)
    assert result.status == 0, result.err
    rows = sleeping(result.of("summary"))
    count = sum(row["count"] for row in rows)
    assert count == SLEEPS if cpu_contention.LAB else SLEEPS - 3 <= count <= SLEEPS
    assert sum(row["total_ns"] for row in rows) >= count * 10_000_000
    assert all(any("schedule" in frame for frame in row["kernel"]) for row in rows)
    assert not any(row["user"] for row in rows)


@pytest.mark.parametrize(("words", "count"), [(["--min", "5ms"], SLEEPS), (["--max", "5ms"], 0)])
def test_only_times_within_bounds(words, count):
    result = run("offcputime", "--blocked", *words, "-f", "json", "--", *COMMAND)
    assert result.status == 0, result.err
    rows = sum(row["count"] for row in sleeping(result.of("summary")))
    assert rows == count if cpu_contention.LAB or not count else count - 3 <= rows <= count


def test_the_table_has_times_with_their_unit():
    result = run("offcputime", "--blocked", "-K", "--min", "5ms", "--", *COMMAND)
    assert result.status == 0, result.err
    assert re.search(r"^\d+\.\d+ ms total, \d+ count, pid \d+, comm python", result.out, re.M)


def test_preempted_threads_are_left_out_of_blocked_time():
    spin = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"]
    result = run("offcputime", "--blocked", "-K", "-f", "json", "--", *spin)
    assert result.status == 0, result.err
    rows = result.of("summary")
    assert not any("preempt" in frame for row in rows for frame in row["kernel"])


@pytest.mark.parametrize(
    ("tracer", "options", "name"),
    [("offcputime", {}, "away"), ("offwaketime", {}, "away"), ("cpudist", {"off": True}, "since")],
)
def test_a_task_that_exits_leaves_no_departure_to_the_next_one_at_its_address(
    tmp_path, tracer, options, name
):
    """The kernel may run no program as the task returns to a CPU. Its departure is then in the map still."""
    blocks = [sys.executable, "-c", BLOCKS, str(tmp_path / "exit")]
    with (
        subprocess.Popen(blocks, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process,
        pytracer.open(tracer, pid=process.pid, **options) as trace,
    ):
        departures = trace.session.loaded.module.maps[name]
        process.stdin.write(b"\n")
        keys: list[bytes] = []
        while not keys:
            keys, values = ([entry.tobytes() for entry in part] for part in departures.read())
        process.stdin.write(b"\n")
        assert process.stdout.readline() == b"spins\n"
        departures.update(keys[0], values[0])
        (tmp_path / "exit").touch()
        assert process.wait(LIMIT) == 0
        assert not len(departures.read()[0])
