"""Test exitsnoop beside what wait(2) tells the parent of the same processes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from support.cli import run
from support.needs import needs

pytestmark = pytest.mark.kernel
# Children that exit with known codes or by signals. The parent writes what wait(2) says of each to a file: on
# standard output its line could come into the middle of a batch of events.
CHILDREN = """
import json, os, resource, signal
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
reported = {}
for number in range(23):
    child = os.fork()
    if not child:
        os._exit(number)
    reported[child] = os.waitpid(child, 0)[1]
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT, signal.SIGRTMIN + 3):
    child = os.fork()
    if not child:
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pause()
    reported[child] = os.waitpid(child, 0)[1]
open("reported", "w").write(json.dumps(reported))
"""


def run_exitsnoop(*words, command, **options):
    result = run("exitsnoop", "-f", "json", *words, "--", *command, **options)
    assert result.err == ""
    lines = [json.loads(line) for line in result.out.splitlines()]
    return {line["pid"]: line for line in lines}, lines


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", ["raw-tracepoint", pytest.param("tracepoint", marks=pytest.mark.smoke)]
)
def test_codes_and_signals_are_those_of_wait(tmp_path, alternative):
    events, _ = run_exitsnoop(
        "--hook", f"exit={alternative}", command=[sys.executable, "-c", CHILDREN], cwd=tmp_path
    )
    reported = json.loads((tmp_path / "reported").read_text())
    assert len(reported) == 28
    for pid, status in reported.items():
        event = events[int(pid)]
        assert event["code"] == (os.WEXITSTATUS(status) if os.WIFEXITED(status) else None)
        assert bool(event["signal"]) == os.WIFSIGNALED(status)
        assert event["core"] == os.WCOREDUMP(status)
        assert event["uid"] == os.getuid()
        assert event["comm"] == Path(sys.executable).name
    assert len({event["ppid"] for pid, event in events.items() if str(pid) in reported}) == 1
    signals = [events[int(pid)]["signal"] for pid in list(reported)[23:]]
    assert signals == ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGABRT", "SIGRTMIN+3"]


def test_arguments_are_shown_as_they_are():
    hostile = "a'b\n\x1b[31m"
    events, _ = run_exitsnoop(command=["/bin/true", hostile, ""])
    [event] = events.values()
    needs("memory of a process that exits", event["args"])
    assert event["args"].startswith("/bin/true ")
    assert "\x1b" not in event["args"]
    table = run("exitsnoop", "--", "/bin/true", hostile)
    assert "\x1b" not in table.out


# Processes whose threads all exit at the same time; told: the process, and each of its threads.
TOGETHER = """
import os, sys, threading
for _ in range(101):
    child = os.fork()
    if not child:
        started = threading.Barrier(5)
        for _ in range(4):
            threading.Thread(target=lambda: (started.wait(), threading.Event().wait()), daemon=True).start()
        started.wait()
        print(os.getpid(), *os.listdir("/proc/self/task"), file=sys.stderr, flush=True)
        os._exit(7)
    os.waitpid(child, 0)
"""


def exits(*words):
    """Return the shown exits of these processes, and the processes' own reports."""
    result = run("exitsnoop", "-f", "json", *words, "--", sys.executable, "-c", TOGETHER)
    reported = [[int(number) for number in line.split()] for line in result.err.splitlines()]
    assert len(reported) == 101
    return [event for event in result.of("event") if event["pid"] in {pid for pid, *_ in reported}], reported


def test_a_process_exits_once_though_its_threads_exit_together():
    events, reported = exits()
    assert [event["pid"] for event in events] == [pid for pid, *_ in reported]
    assert {event["code"] for event in events} == {7}


def test_each_thread_is_shown_though_all_exit_together():
    events, reported = exits("--threads")
    threads = [(event["pid"], event["tid"]) for event in events]
    assert sorted(threads) == sorted((pid, tid) for pid, *tids in reported for tid in tids)


def test_age_is_the_time_since_the_process_was_created():
    events, _ = run_exitsnoop(command=["sleep", "0.2"])
    [event] = events.values()
    assert event["age_ns"] >= 200_000_000
