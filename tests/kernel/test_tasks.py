"""Test tasks against threads that wait where the test has them wait."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.cli import COMMAND, run, wait_for
from support.python_process import python_process

pytestmark = pytest.mark.kernel

THREADS = """
import sys, threading, time
for _ in range(23):
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print(flush=True)
sys.stdin.read()
"""


def listed(*words):
    """Return the entries of a run, which must have no other records."""
    result = run("tasks", "-f", "json", "--strict", *words)
    assert result.status == 0, result.err
    assert {record["kind"] for record in result.records} <= {"entry"}
    return result.records


def state(process, folder=Path("/proc")):
    """Return the state of a process, or of a thread in the folder of its process's threads."""
    return (folder / str(process) / "stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.smoke
@pytest.mark.lab
def test_every_thread_of_a_process_once_and_where_it_sleeps():
    with python_process(THREADS) as process:
        tasks = Path(f"/proc/{process.pid}/task")
        wait_for(lambda: all(state(task.name, tasks) == "S" for task in tasks.iterdir()), "sleep")
        tids = {int(task.name) for task in tasks.iterdir()}
        entries = listed("-p", process.pid)
        [row] = listed("--tid", max(tids))
    assert len(tids) == 24
    assert sorted(e["tid"] for e in entries) == sorted(tids)
    assert {(e["pid"], e["state"]) for e in entries} == {(process.pid, "S")}
    [first] = [e for e in entries if e["tid"] == process.pid]
    assert "read" in first["stack"]
    others = [e for e in entries if e["tid"] != process.pid]
    assert all("nanosleep" in e["stack"] or "select" in e["stack"] for e in others)
    assert row in others


@pytest.mark.lab
def test_states_are_those_of_ps():
    with (
        python_process("print(flush=True)\nwhile True: pass") as runs,
        python_process("print(flush=True); input()") as stops,
    ):
        os.kill(stops.pid, signal.SIGSTOP)
        wait_for(lambda: state(stops.pid) == "T", "a stop")
        with subprocess.Popen(["true"]) as error:
            wait_for(lambda: state(error.pid) == "Z", "an end")
            entries = listed(*(word for p in (runs, stops, error) for word in ("-p", p.pid)))
    states = {e["pid"]: e["state"] for e in entries}
    assert states == {runs.pid: "R", stops.pid: "T", error.pid: "Z"}
    [stopped] = [e["stack"] for e in entries if e["pid"] == stops.pid]
    assert "get_signal" in stopped


def test_threads_of_the_kernel_are_there():
    entries = listed("--comm", "kthreadd")
    assert [(e["pid"], e["state"]) for e in entries if e["pid"] == 2] == [(2, "S")]


def test_hidden_tasks_of_other_pid_namespaces_are_reported():
    pid_namespace = ["unshare", "--pid", "--fork", "--mount-proc"]
    for tracer in ("tasks", "openfiles"):
        words = [*pid_namespace, *COMMAND, tracer, "-f", "json"]
        result = subprocess.run(words, capture_output=True, text=True, check=True)
        assert "processes outside it are hidden, and not listed" in result.stderr
    assert "hidden" not in run("tasks", "-p", os.getpid()).err
