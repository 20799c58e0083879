"""Test kernels under lockdown: tracers that run count exactly, and others give the reason.

Run only when named, since every test boots: scripts/test tests/vm/test_lockdown.py. PYTRACER_LAB_KERNELS
chooses the kernels (6.1,6.12); they are fetched if they are not there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNELS = os.environ.get("PYTRACER_LAB_KERNELS", "6.1,6.12").split(",")
LIMIT = 1200
FOLLOWED = (
    "test_execsnoop.py::test_arguments_of_any_length_are_whole",
    "test_opensnoop.py::test_a_path_as_long_as_can_be_is_whole_and_a_longer_one_counted",
    "test_profile.py::test_children_are_followed_and_those_that_ended_keep_their_names",
    "test_syscalls.py::test_threads_are_followed_and_an_exec_beside_the_leader_is_counted_once",
    "test_descendants.py::test_wait_all_follows_them_to_their_end[raw-tracepoint-3]",
)
"""Kernel tests of a command that is followed."""
GUEST = """
import json, subprocess, sys
sys.path[:0] = ["tests"]
from support.cli import run, start, stop
from support.workloads import workload

def seen(tracer, *command):
    process = start(tracer, "-f", "json")
    subprocess.run(list(command), check=False, stdout=subprocess.DEVNULL)
    result = stop(process)
    return {"status": result.status, "err": result.err[-400:], "records": result.records}

opened = seen("opensnoop", workload("opens"), "openat", "0", "23", "/dev/null")
opened["count"] = sum(record.get("path") == "/dev/null" and record.get("comm") == "opens"
    for record in opened.pop("records"))
executed = seen("execsnoop", workload("execs"), "times", "23", "/bin/true", "pytracer")
executed["count"] = sum(record.get("args") == "/bin/true pytracer" for record in executed.pop("records"))
sampled = seen("profile", workload("spin"), "user", "2000")
sampled["count"] = sum(record["samples"] for record in sampled.pop("records")
    if record.get("kind") == "summary" and record["user"][:2] == ["spin", "b"])
withheld = run("biolatency", "-d", "1")
doctor = run("doctor")
print(json.dumps({"opensnoop": opened, "execsnoop": executed, "profile": sampled,
    "withheld": {"status": withheld.status, "err": withheld.err},
    "doctor": {"status": doctor.status, "out": doctor.out}}))
"""


@pytest.fixture(autouse=True)
def _named(request: pytest.FixtureRequest) -> None:
    if not any("tests/vm" in str(Path(word).resolve()) for word in request.config.args):
        pytest.skip("boots virtual machines: only when tests/vm is named")


def lab(kernel: str, lockdown: str, *words: str) -> subprocess.CompletedProcess[str]:
    options = ("--append", f"lockdown={lockdown}", "--timeout", str(LIMIT))
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts/lab"), kernel, *options, "--", *words],
        capture_output=True,
        text=True,
        timeout=LIMIT + 200,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.parametrize("lockdown", ["integrity", "confidentiality"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_system_wide_events_are_seen(kernel: str, lockdown: str) -> None:
    result = lab(kernel, lockdown, str(ROOT / ".venv/bin/python"), "-c", GUEST)
    assert result.returncode == 0, result.stdout + result.stderr
    seen = json.loads(result.stdout.splitlines()[-1])
    for tracer in ("opensnoop", "execsnoop", "profile"):
        assert seen[tracer]["status"] == 0, seen
    assert (seen["opensnoop"]["count"], seen["execsnoop"]["count"]) == (23, 23), seen
    assert seen["profile"]["count"] > 20, seen
    assert seen["doctor"]["status"] == 0, seen["doctor"]
    last = seen["doctor"]["out"].rstrip().rpartition("\n")[2]
    if lockdown == "integrity":
        assert seen["withheld"]["status"] == 0, seen["withheld"]
        assert last == "pytracer can run here"
    else:
        assert seen["withheld"]["status"] == 5, seen["withheld"]
        assert "lockdown=confidentiality" in seen["withheld"]["err"]
        assert "lockdown" in last


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_command_is_followed_without_reading_kernel_memory(kernel: str) -> None:
    words = [f"tests/kernel/{name}" for name in FOLLOWED]
    python = str(ROOT / ".venv/bin/python")
    result = lab(kernel, "confidentiality", python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(FOLLOWED)} passed" in result.stdout
