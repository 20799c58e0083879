"""Test iouring against a program that counts its own submissions and what its completion queue had."""

from __future__ import annotations

import re
import subprocess

import pytest

from support.cli import run, start, stop
from support.needs import needs, running, was_refused
from support.workloads import workload

pytestmark = pytest.mark.kernel
MULTISHOT = "multishot polls of io_uring"
MATCHED = "requests in the events of io_uring"
SKIPPED = "skipped completions of io_uring"
IS_TIMED = not running().excuse(MATCHED)
COUNTS = ("submitted", "completed", "failed", "more")


def message(err):
    """Return the program's own counts: requests, completions, results below 0, announced further results."""
    [line] = re.findall(r"^\d+ \d+ \d+ \d+$", err, re.M)
    return tuple(map(int, line.split()))


def operations(mode, count, *words, by="operation"):
    """Return the rows of a run by operation. Their sums must equal the program's own counts."""
    result = run("iouring", "-f", "json", "--by", by, *words, "--", workload("rings"), mode, count)
    assert result.status == 0, result.err
    assert not result.of("loss")
    rows = result.of("summary")
    submitted, completed, failed, multishot = (sum(row[name] for row in rows) for name in COUNTS)
    if IS_TIMED:
        assert (submitted, completed + multishot, failed, multishot) == message(result.err)
    else:  # each completion counts as one of a request
        assert (submitted, completed, failed, multishot) == (*message(result.err)[:3], 0)
    return {row["operation"]: row for row in rows}


def counts(row):
    return tuple(row[name] for name in COUNTS)


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", [pytest.param("tracepoint", marks=pytest.mark.smoke), "tracepoint-sqe"]
)
def test_each_request_once_with_its_time(alternative):
    hook = ["--hook", f"ring_request={alternative}"]
    if was_refused(run("iouring", "--dry-run", *hook), {"ring_request": alternative}):
        return
    nops = operations("nops", 101, *hook)
    assert {name: counts(row) for name, row in nops.items()} == {"NOP": (101, 101, 0, 0)}
    timeouts = operations("timeouts", 7, *hook)["TIMEOUT"]
    assert counts(timeouts) == (7, 7, 7, 0)  # -ETIME
    if IS_TIMED:
        assert timeouts["timed"] == 7
        assert 20_000_000 <= timeouts["avg_ns"] <= timeouts["max_ns"]
        assert timeouts["total_ns"] >= 7 * 20_000_000
    else:
        assert timeouts["timed"] == 0
        assert timeouts["avg_ns"] is None


@pytest.mark.lab
def test_requests_of_the_sqpoll_thread_belong_to_the_process():
    row = operations("polled", 101, by="pid,operation")["NOP"]
    assert counts(row) == (101, 101, 0, 0)
    assert row["polled"] == 101
    assert row["comm"] == "rings"
    assert row["pid"] > 0


@pytest.mark.lab
def test_fixed_files():
    row = operations("fixed", 23)["READ"]
    assert counts(row) == (23, 23, 0, 0)
    assert row["fixed"] == (23 if IS_TIMED else 0)


@pytest.mark.lab
def test_a_multishot_poll_completes_many_times():
    needs(MULTISHOT, not running().excuse(MULTISHOT))
    rows = operations("multishot", 23)
    # It ends as it is cancelled.
    assert counts(rows["POLL_ADD"]) == ((1, 1, 1, 23) if IS_TIMED else (1, 24, 1, 0))
    assert counts(rows["POLL_REMOVE"]) == (1, 1, 0, 0)


@pytest.mark.lab
def test_completions_that_are_skipped():
    """No event marks the end of such a request; one that fails posts a completion all the same."""
    needs(SKIPPED, not running().excuse(SKIPPED))
    rows = operations("skipped", 23)
    assert counts(rows["NOP"]) == (23, 0, 0, 0)
    assert counts(rows["READ"]) == (23, 23, 23, 0)
    if IS_TIMED:
        assert (rows["NOP"]["skipped"], rows["READ"]["skipped"]) == (23, 23)
        assert (rows["NOP"]["timed"], rows["READ"]["timed"]) == (0, 23)


def test_a_ring_that_is_older_than_the_trace_and_one_that_is_made():
    words = [workload("rings"), "nops", "23", "wait"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        tracer = start("iouring", "-f", "json", "--by", "ring,pid", "-p", process.pid)
        _, err = process.communicate("x")
        result = stop(tracer)
    assert message(err) == (23, 23, 0, 0)
    [row] = result.of("summary")
    assert (row["ring"], row["pid"], row["comm"]) == (5, process.pid, "rings")
    assert counts(row) == (23, 23, 0, 0)
    assert operations("nops", 7, by="ring,operation")["NOP"]["ring"] == 5


def test_histograms_have_each_time():
    needs(MATCHED, IS_TIMED)
    command = ["--", workload("rings"), "timeouts", 7]
    result = run("iouring", "--latency", "-f", "json", "--by", "operation", *command)
    assert result.status == 0, result.err
    [row] = result.of("summary")
    assert (row["operation"], row["timed"]) == ("TIMEOUT", 7)
    assert sum(bucket["count"] for bucket in row["duration_ns"] if bucket["high"] > 20_000_000) == 7


def test_rows_that_find_no_room_are_counted():
    command = ["--", workload("rings"), "skipped", 23]
    result = run("iouring", "-f", "json", "--by", "operation", "--max-rows", 1, *command)
    assert result.of("loss")
