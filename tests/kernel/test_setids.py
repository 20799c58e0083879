"""Test setids against /proc/PID/status of the thread after each call."""

from __future__ import annotations

import re
import sys

import pytest

from support.calls import ALTERNATIVES, is_granted
from support.cli import run
from support.stream import events_and_report

pytestmark = pytest.mark.kernel
# Calls by number, as the C library has no wrapper that acts on one thread alone. After each, the ids that
# /proc/thread-self/status tells.
WORKLOAD = """
import ctypes, json, os, re
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    libc.syscall(number, *map(ctypes.c_long, args))
    status = open("/proc/thread-self/status").read()
    ids = [[int(n) for n in re.search(f"^{name}:(.*)", status, re.M)[1].split()] for name in ("Uid", "Gid")]
    os.write(2, json.dumps([number, list(args), ids]).encode() + b"\\n")
def child(*calls):
    pid = os.fork()
    if not pid:
        for number, *args in calls:
            call(number, *args)
        os._exit(0)
    os.waitpid(pid, 0)
for base in (x86 := {"setuid": 105, "setgid": 106}).values():
    child((base, 12345))
child((113, 101, 102), (113, -1, 101), (105, 0))
child((114, -1, 102))
child((117, 103, 105, 107), (117, -1, 107, -1), (117, 0, 0, 0))
child((119, 103, 105, 107))
child((122, 109), (123, 113))
child((116, 0, 0))
for _ in range(17):
    child((106, 127))
"""
NAMES = {
    105: "setuid", 106: "setgid", 113: "setreuid", 114: "setregid", 116: "setgroups",
    117: "setresuid", 119: "setresgid", 122: "setfsuid", 123: "setfsgid",
}  # fmt: skip


def run_setids(*words, code=WORKLOAD):
    return events_and_report("setids", *words, "--", sys.executable, "-c", code)


def requested_ids(args, position):
    return None if len(args) <= position or args[position] == -1 else args[position]


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_ids_are_those_in_proc(alternative):
    if not is_granted("setids", alternative):
        return
    events, reported = run_setids("--hook", f"return={alternative}")
    assert len(events) == len(reported) == 30
    for event, (number, args, (uids, gids)) in zip(events, reported, strict=True):
        assert event["call"] == NAMES[number]
        assert [event[name] for name in ("uid", "euid", "suid", "fsuid")] == uids
        assert [event[name] for name in ("gid", "egid", "sgid", "fsgid")] == gids
        if number == 116:
            assert (event["real"], event["groups"]) == (None, 0)
        else:
            assert [event[name] for name in ("real", "effective", "saved")] == [
                requested_ids(args, position) for position in range(3)
            ]
    refused = [event for event in events if event["err"]]
    assert [(event["call"], event["err"]) for event in refused] == [
        ("setuid", "EPERM"),
        ("setresuid", "EPERM"),
    ]


def test_failures_can_be_selected_alone():
    events, _ = run_setids("--failed")
    assert [event["call"] for event in events] == ["setuid", "setresuid"]


def test_hostile_names_stay_text():
    code = "import os\nopen('/proc/self/comm', 'wb').write(b'a\\n\\x1b[31m')\nos.setuid(7)\n"
    result = run("setids", "--", sys.executable, "-c", code)
    assert "\x1b" not in result.out
    assert len(result.out.splitlines()) == 2
    assert re.search(r"a\\n\\x1b\[31m +setuid +- +7", result.out)
