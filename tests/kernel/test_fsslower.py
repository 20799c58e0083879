"""Test fsslower against a program that reads and writes in every manner, and beside strace."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from support.cli import run
from support.file_work import COUNT, DONE, OPERATIONS, by_count, command, every
from support.filesystems import mounted
from support.needs import running
from support.workloads import workload

pytestmark = pytest.mark.kernel


def run_workload(tmp_path, *words, before=()):
    script = 'echo | "$@"'
    every_word = ["-f", "json", *words, "--", "sh", "-c", script, "sh", *before, *command(tmp_path)]
    result = run("fsslower", *every_word)
    assert result.status == 0, result.err
    return [event for event in result.of("event") if event["file"] in DONE], result


def operations(events):
    return by_count((event["file"], event["operation"], event["bytes"]) for event in events)


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", ["raw-tracepoint", pytest.param("tracepoint", marks=pytest.mark.smoke)]
)
def test_each_operation_is_seen_once(alternative, tmp_path):
    with mounted(tmp_path) as folder:
        actual, result = run_workload(folder, "--min", "0", "--hook", f"return={alternative}")
    actual_operations, expected = Counter(operations(actual)), Counter(every(OPERATIONS))
    assert actual_operations <= expected
    assert (expected - actual_operations).total() <= result.missed
    assert {event["fs"] for event in actual} == {"ext4"}
    assert all(event["took_ns"] > 0 for event in actual)
    assert len({event["pid"] for event in actual}) == 1
    offsets = {(event["bytes"], event["offset"]) for event in actual if event["file"] == "written"}
    assert offsets == {(0, 0), (1000, 0), (1000, 1000), (2000, 1000), (2000, 4000)}


@pytest.mark.lab
def test_operations_by_io_uring(tmp_path):
    with mounted(tmp_path) as folder:
        words = ["-f", "json", "--min", "0", "--", workload("rings"), "files", 23, folder / "ring"]
        result = run("fsslower", *words)
    assert result.status == 0, result.err
    events = [
        event for event in result.of("event") if event["file"] == "ring" and event["operation"] != "open"
    ]
    expected = {("write", 16): 23, ("read", 16): 23, ("sync", 0): 2}
    actual_operations = Counter((event["operation"], event["bytes"]) for event in events)
    assert actual_operations == (
        expected if not running().excuse("requests in the events of io_uring") else {}
    )
    assert {(event["comm"], event["fs"], event["offset"]) for event in events} <= {("rings", "ext4", None)}
    assert all(event["took_ns"] > 0 and event["pid"] == event["tid"] for event in events)


def test_writes_that_wait_for_the_disk_are_reported(tmp_path):
    """With O_SYNC the write itself waits, and no fsync follows."""
    with mounted(tmp_path) as folder:
        actual, _ = run_workload(folder, "--min", "0")
    waited = [event for event in actual if event["file"] == "synchronous" and event["operation"] == "write"]
    assert [event["sync"] for event in waited] == [1] * COUNT
    assert {event["sync"] for event in actual if event["file"] == "written"} == {0}


def test_strace_times_the_same_calls(tmp_path):
    calls = "openat,read,pread64,readv,preadv,write,pwrite64,writev,pwritev,fsync"
    strace = ["strace", "-T", "-y", "-e", f"trace={calls}"]
    actual, result = run_workload(tmp_path, "--min", "0", "--comm", "python", before=strace)
    lines = re.findall(r"^fsync\(\d+<[^>]*/written>.* <([\d.]+)>$", result.err, re.M)
    reference = [float(time) * 1e9 for time in lines]
    durations = [event["took_ns"] for event in actual if event["operation"] == "sync"]
    assert len(reference) == len(durations) == COUNT
    # strace stops the program within the call: each took longer for it.
    assert all(
        own_duration <= reference_duration + 1000
        for own_duration, reference_duration in zip(durations, reference, strict=True)
    )


def test_only_long_ones_and_hostile_names(tmp_path):
    assert run_workload(tmp_path, "--min", "100s")[0] == []
    words = ["--min", "0", "--", "sh", "-c", 'echo | "$@"', "sh", *command(tmp_path)]
    text = run("fsslower", *words).out
    assert "\x1b" not in text
    assert text.count(r"read\n\x1b[2J") == COUNT * 5
