"""Test that pytracer's own process is not shown, unless it is named."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest

from pytracer.cli import tracer_parser
from pytracer.features.kernel_facts import RunningKernel
from pytracer.spec import registry
from pytracer.trace.event_loop import EventLoop
from pytracer.trace.loop import TraceLoop
from support.cli import COMMAND, LIMIT

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

CALLS = ["syscalls", "--by", "pid,syscall", "-f", "json"]
CHILD = [sys.executable, "-c", "import os\nfor _ in range(101): os.getppid()"]


def own_calls(*words: str) -> tuple[int, list[dict[str, object]]]:
    """Return how many calls a tracer shows of its own process ($$ in ``words``), and all rows."""
    script = f"echo $$; exec {shlex.join(COMMAND)} {shlex.join(CALLS)} {' '.join(words)}"
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=LIMIT, check=True)
    pid, *lines = result.stdout.splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] != "loss"]
    return sum(row["calls"] for row in rows if row["pid"] == int(pid)), rows


@pytest.mark.parametrize("filters", [(), ("-u", "0"), ("--mntns", "/proc/self/ns/mnt")])
def test_pytracer_itself_is_not_shown(filters):
    busy = [sys.executable, "-c", "import os, time\nwhile True: time.sleep(0.01); os.getppid()"]
    with subprocess.Popen(busy) as other:
        try:
            calls, rows = own_calls(*filters, "-d", "2")
        finally:
            other.kill()
    assert calls == 0
    assert any(row["pid"] == other.pid for row in rows)


@pytest.mark.parametrize("option", ["-p", "--tid"])
def test_pytracer_itself_is_shown_if_selected(option):
    calls, rows = own_calls(option, "$$", "-d", "1")
    assert calls > 0
    assert len({row["pid"] for row in rows}) == 1


def test_a_command_that_is_the_load_is_shown():
    calls, rows = own_calls("--load", "--", *CHILD[:2], shlex.quote(CHILD[2]))
    assert calls == 0
    assert [row["calls"] for row in rows if row["syscall"] == "getppid" and row["calls"] == 101] == [101]


@pytest.mark.parametrize("make_events", [EventLoop, lambda: None], ids=["command line", "library"])
def test_helpers_are_not_shown_but_children_of_who_uses_the_library(make_events):
    request, _ = tracer_parser.parse(registry.get("syscalls"), CALLS[1:])
    with TraceLoop(request, RunningKernel, events=make_events()) as trace:
        child = subprocess.Popen(CHILD)
        assert child.wait() == 0
        trace.stop()
        pids = {row["pid"] for item in trace if item.kind != "loss" for row in item.rows()}
    assert (child.pid in pids) is (make_events is not EventLoop)


def test_pytracer_itself_is_not_shown_by_events_of_other_tasks():
    """Scheduler events are about tasks other than the current one."""
    words = ["runqlat", "--by", "pid", "-f", "json", "-d", "2"]
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=LIMIT)
    pids = {row["pid"] for row in map(json.loads, out.splitlines()) if row["kind"] != "loss"}
    assert pids
    assert process.pid not in pids


def test_lists_are_whole():
    words = ["tasks", "-f", "json"]
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=LIMIT)
    assert process.pid in {row["pid"] for row in map(json.loads, out.splitlines())}
