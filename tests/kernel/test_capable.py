"""Test capable beside what the checked calls tell the process that makes them."""

from __future__ import annotations

import json
import sys

import pytest

from support.cli import run
from support.needs import was_refused

pytestmark = pytest.mark.kernel
# sethostname(2) asks once for CAP_SYS_ADMIN over the UTS namespace, which is the process's own.
WORKLOAD = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x04000000) == 0  # CLONE_NEWUTS
results = {"granted": 0, "refused": 0}
def ask(times):
    for _ in range(times):
        done = libc.sethostname(b"pytracer", 8)
        results["refused" if done else "granted"] += 1
ask(23)
os.setresuid(12345, 12345, 12345)
ask(17)
os.write(2, json.dumps(results).encode())
"""


def rows(*words, code=WORKLOAD):
    result = run("capable", *words, "-f", "json", "--", sys.executable, "-c", code)
    assert result.status == 0, result.err
    reported, _ = json.JSONDecoder().raw_decode(result.err)  # warnings may follow
    return result.of("summary"), reported


def of_hostname(events):
    return [row for row in events if row["syscall"] == "sethostname"]


@pytest.mark.smoke
@pytest.mark.lab
def test_results_of_checks_are_those_of_the_calls():
    actual, reported = rows()
    assert reported == {"granted": 23, "refused": 17}
    assert {row["result"]: row["checks"] for row in of_hostname(actual)} == reported
    assert {row["capability"] for row in of_hostname(actual)} == {"CAP_SYS_ADMIN"}
    assert {row["comm"] for row in of_hostname(actual)} == {"python"}
    # Each row has its system call.
    changes = [row for row in actual if row["capability"] == "CAP_SETUID"]
    assert [(row["syscall"], row["result"], row["checks"]) for row in changes] == [
        ("setresuid", "granted", 1)
    ]


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ["raw-tracepoint", "fexit", "kprobe"])
def test_each_alternative(alternative):
    words = ["--hook", f"checked={alternative}"]
    probe = run("capable", *words, "--", "true")
    if was_refused(probe, {"checked": alternative}):
        return
    actual, reported = rows(*words)
    assert {row["result"]: row["checks"] for row in of_hostname(actual)} == reported


def test_only_refused_checks_are_shown():
    actual, _ = rows("--refused", "--by", "result,syscall")
    assert {row["result"] for row in actual} == {"refused"}
    assert sum(row["checks"] for row in of_hostname(actual)) == 17


def test_checks_are_counted_by_process():
    actual, reported = rows("--by", "pid,result,syscall")
    assert {row["result"]: row["checks"] for row in of_hostname(actual)} == reported
    assert {row["comm"] for row in of_hostname(actual)} == {"python"}


def test_stacks_lead_to_the_check():
    actual, reported = rows("--stacks", "--by", "result,syscall")
    stacks = of_hostname(actual)
    assert sum(row["checks"] for row in stacks) == sum(reported.values())
    assert all(any("sethostname" in frame for frame in row["kernel"]) for row in stacks)
    assert all(any("sethostname" in frame for frame in row["user"]) for row in stacks)


def test_hostile_names_stay_text():
    code = "import os\nopen('/proc/self/comm', 'wb').write(b'a\\n\\x1b[31m')\nos.setuid(7)\n"
    result = run("capable", "--", sys.executable, "-c", code)
    assert "\x1b" not in result.out
    assert "a\\n\\x1b[31m" in result.out
