"""Test statsnoop against a program that makes every such call of both ABIs, and beside strace."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from pytracer.text import to_bytes
from support.calls import ALTERNATIVES, NATIVE_ONLY, is_granted
from support.cli import run
from support.needs import running
from support.stream import events
from support.workloads import workload

pytestmark = pytest.mark.kernel
COUNT = 23
BY_PATH = ("stat", "lstat", "newfstatat", "statx", "statfs")
BY_FD = ("fstat", "fstatfs")
COMPAT_BY_PATH = (
    "stat", "oldstat", "lstat", "oldlstat", "stat64", "lstat64", "fstatat64", "statx", "statfs", "statfs64"
)  # fmt: skip
COMPAT_BY_FD = ("fstat", "oldfstat", "fstat64", "fstatfs", "fstatfs64")


def own_calls_of(events, path):
    """Return the calls of the program's loop: of its path, of its descriptor, and of no device."""
    return [
        event for event in events if event["path"] == path or event["fd"] == 987 or "ustat" in event["call"]
    ]


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_each_call_of_each_abi_is_seen(alternative, tmp_path):
    if not is_granted("statsnoop", alternative):
        return
    path = str(tmp_path)
    words = ["--hook", f"return={alternative}", "--comm", "stats", "--", workload("stats"), COUNT, path]
    actual = own_calls_of(events("statsnoop", *words), path)
    expected = [*BY_PATH, *BY_FD, "ustat"]
    if alternative != NATIVE_ONLY:
        expected += [f"i386:{call}" for call in (*COMPAT_BY_PATH, *COMPAT_BY_FD, "ustat")]
    assert Counter(event["call"] for event in actual) == dict.fromkeys(expected, COUNT)
    for event in actual:
        call = event["call"].removeprefix("i386:")
        if call in (*BY_FD, *COMPAT_BY_FD):
            assert (event["fd"], event["err"], event["path"]) == (987, "EBADF", "")
        elif call != "ustat":
            assert (event["fd"], event["path"]) == (None, path)


def test_strace_counts_the_same(tmp_path):
    path = str(tmp_path)
    calls = (*BY_PATH, *BY_FD, "ustat")
    strace = ["strace", "-f", "-e", f"trace={','.join(calls)}"]
    result = run("statsnoop", "-f", "json", "--comm", "stats", "--", *strace, workload("stats"), COUNT, path)
    witnessed = [line for line in result.err.splitlines() if path in line or "987" in line or "ustat" in line]
    counts = Counter(re.findall(r"^(\w+)\(", "\n".join(witnessed), re.M))
    native = [event["call"] for event in own_calls_of(result.of("event"), path) if ":" not in event["call"]]
    # strace shows calls of the other ABI by the same names, if it knows them to be asked for.
    assert all(counts[call] >= native.count(call) == COUNT for call in calls)


def test_paths_and_failures_can_be_selected():
    path = "/pt/not/there"
    hook = "--hook=return=raw-tracepoint"  # which sees what the program does by int 0x80
    command = [hook, "--comm", "stats", "--", workload("stats"), 7, path]
    actual = events("statsnoop", "--failed", "--path", path, *command)
    assert len(actual) == 7 * (len(BY_PATH) + len(COMPAT_BY_PATH))
    assert {(event["err"], event["path"]) for event in actual} == {("ENOENT", path)}
    assert events("statsnoop", "--path", "/pt/other", *command) == []


def test_hostile_paths_are_text_on_one_line():
    path = "/pt/\x1b[2J\na"
    hook = "--hook=return=raw-tracepoint"  # which sees what the program does by int 0x80
    words = [hook, "--path", "/pt/*", "--comm", "stats", "--", workload("stats"), 1, path]
    assert {to_bytes(event["path"]) for event in events("statsnoop", *words)} == {path.encode()}
    table = run("statsnoop", *words).out
    assert "\x1b" not in table
    assert len(table.splitlines()) == 1 + len(BY_PATH) + len(COMPAT_BY_PATH)


@pytest.mark.lab
def test_statx_by_io_uring(tmp_path):
    path = str(tmp_path / "ring")
    actual = events("statsnoop", "--path", path, "--", workload("rings"), "opens", 5, path)
    sees_io_uring = not running().excuse("requests in the events of io_uring")
    calls = [(event["comm"], event["call"], event["fd"], event["err"]) for event in actual]
    assert calls == [("rings", "statx", None, None)] * sees_io_uring
