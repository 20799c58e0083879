"""Test syncsnoop beside strace of the same process, which sees each of its calls, too."""

from __future__ import annotations

import re
import sys

import pytest

from support.cli import run
from support.needs import running
from support.workloads import workload

pytestmark = pytest.mark.kernel
WORKLOAD = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
path = sys.argv[1]
fd = os.open(path, os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 8192)
memory = mmap.mmap(fd, 8192)
for _ in range(23):
    os.fsync(fd)
for _ in range(17):
    os.fdatasync(fd)
for _ in range(13):
    memory.flush()
for _ in range(11):
    assert libc.sync_file_range(fd, ctypes.c_long(0), ctypes.c_long(0), 2) == 0
for _ in range(7):
    libc.syncfs(fd)
os.close(fd)
for _ in range(5):
    assert libc.fsync(987) == -1
libc.sync() if len(sys.argv) > 2 else None
"""
COUNTS = {"fsync": 28, "fdatasync": 17, "msync": 13, "sync_file_range": 11, "syncfs": 7}


def run_syncsnoop(*words, command):
    result = run("syncsnoop", *words, "-f", "json", "--", *command)
    assert result.status == 0, result.err
    return result.of("event"), result


def count_by_call(events):
    calls = [event["call"] for event in events]
    return {call: calls.count(call) for call in calls}


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", ["raw-tracepoint", pytest.param("tracepoint", marks=pytest.mark.smoke)]
)
def test_each_call_is_seen_once(tmp_path, alternative):
    path = tmp_path / "some file"
    command = [sys.executable, "-c", WORKLOAD, str(path)]
    events, _ = run_syncsnoop("--hook", f"return={alternative}", command=command)
    assert count_by_call(events) == COUNTS
    of_file = [event for event in events if event["call"] != "msync" and not event["err"]]
    assert {event["file"] for event in of_file} == {"some file"}
    assert len({event["fd"] for event in of_file}) == 1
    assert all(event["fd"] is None and event["file"] is None for event in events if event["call"] == "msync")
    assert all(event["took_ns"] > 0 for event in events)
    failed = [event for event in events if event["err"]]
    assert [(event["err"], event["fd"], event["file"]) for event in failed] == [("EBADF", 987, None)] * 5


def test_strace_counts_the_same(tmp_path):
    calls = ",".join([*COUNTS, "sync"])
    command = [sys.executable, "-c", WORKLOAD, str(tmp_path / "file"), "sync"]
    events, result = run_syncsnoop(command=["strace", "-f", "-e", f"trace={calls}", *command])
    witnessed = re.findall(r"^(?:\[pid +\d+\] )?(\w+)\(", result.err, re.M)
    assert count_by_call(events) == COUNTS | {"sync": 1}
    assert {call: witnessed.count(call) for call in set(witnessed)} == COUNTS | {"sync": 1}


def test_only_those_that_failed_or_took_long(tmp_path):
    command = [sys.executable, "-c", WORKLOAD, str(tmp_path / "file")]
    events, _ = run_syncsnoop("-x", command=command)
    assert count_by_call(events) == {"fsync": 5}
    assert run_syncsnoop("--min", "3600s", command=command)[0] == []


def test_hostile_names_stay_text(tmp_path):
    path = tmp_path / "a\n\x1b[31m"
    code = "import os, sys\nos.fsync(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT))"
    result = run("syncsnoop", "--", sys.executable, "-c", code, str(path))
    assert "\x1b" not in result.out
    assert "a\\n\\x1b[31m" in result.out
    assert len(result.out.splitlines()) == 2


@pytest.mark.lab
def test_syncs_by_io_uring(tmp_path):
    actual, _ = run_syncsnoop(command=[workload("rings"), "files", 5, tmp_path / "ring"])
    calls = [(event["comm"], event["call"], event["fd"], event["err"], event["file"]) for event in actual]
    sees_io_uring = not running().excuse("requests in the events of io_uring")
    assert calls == [("rings", call, None, None, "ring") for call in ("fsync", "fdatasync") * sees_io_uring]
    assert all(event["took_ns"] > 0 for event in actual)
