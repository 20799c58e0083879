"""Test forksnoop beside what fork(2), posix_spawn(3) and gettid(2) tell the processes themselves."""

from __future__ import annotations

import os
import sys

import pytest

from support.cli import run
from support.stream import events_and_report

pytestmark = pytest.mark.kernel
WORKLOAD = """
import json, os, subprocess, threading
forked, spawned, threads, nested = [], [], [], []
for _ in range(17):
    child = os.fork()
    if not child:
        os._exit(0)
    forked.append(child)
    os.waitpid(child, 0)
for _ in range(13):
    child = os.posix_spawn("/bin/true", ["true"], {})
    spawned.append(child)
    os.waitpid(child, 0)
for _ in range(11):
    thread = threading.Thread(target=lambda: threads.append(threading.get_native_id()))
    thread.start()
    thread.join()
def in_thread():
    child = os.fork()
    if not child:
        os._exit(0)
    nested.append([threading.get_native_id(), child])
    os.waitpid(child, 0)
thread = threading.Thread(target=in_thread)
thread.start()
thread.join()
threads.append(nested[0][0])
os.write(2, json.dumps([os.getpid(), os.getppid(), forked, spawned, threads, nested]).encode())
"""


def run_forksnoop(*words, code=WORKLOAD):
    return events_and_report("forksnoop", *words, "--", sys.executable, "-c", code)


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", ["raw-tracepoint", pytest.param("tracepoint", marks=pytest.mark.smoke)]
)
def test_processes_and_threads_are_those_that_were_created(alternative):
    events, [[own_pid, parent, forked, spawned, threads, [[thread, child]]]] = run_forksnoop(
        "--hook", f"new={alternative}"
    )
    assert {event["pid"] for event in events} == {own_pid}
    assert {event["ppid"] for event in events} == {parent}
    assert {event["uid"] for event in events} == {os.getuid()}
    processes = [event for event in events if event["child_pid"] != own_pid]
    assert [event["child_tid"] for event in processes] == [*forked, *spawned, child]
    assert all(event["child_pid"] == event["child_tid"] for event in processes)
    assert [event["child_tid"] for event in events if event["child_pid"] == own_pid] == threads
    assert len(events) == 17 + 13 + 12 + 1
    assert [event["tid"] for event in events if event["child_tid"] == child] == [thread]
    by_child = {event["child_tid"]: event["flags"].split("|") for event in events}
    assert all("VFORK" in by_child[child] for child in spawned)
    assert all("THREAD" not in by_child[child] for child in forked)
    assert all("THREAD" in by_child[thread] for thread in threads)


def test_kinds_can_be_selected_alone():
    events, [[_, _, forked, spawned, _, [[_, child]]]] = run_forksnoop("--processes")
    assert [event["child_pid"] for event in events] == [*forked, *spawned, child]
    events, [[own_pid, _, _, _, threads, _]] = run_forksnoop("--threads")
    assert [event["child_tid"] for event in events] == threads
    assert {event["child_pid"] for event in events} == {own_pid}
    assert run("forksnoop", "--threads", "--processes", "--dry-run").status == 2


def test_a_thread_that_no_library_made_is_seen():
    """A program without libpthread calls clone3 directly."""
    code = (
        "import ctypes, json, os, struct\n"
        "libc = ctypes.CDLL(None)\n"
        "for _ in range(23):\n"
        "    args = ctypes.create_string_buffer(struct.pack('8Q', 0, 0, 0, 0, 17, 0, 0, 0))\n"
        "    child = libc.syscall(435, args, 64)\n"
        "    if not child:\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
    )
    events, _ = run_forksnoop(code=code)
    assert len(events) == 23


def test_hostile_names_stay_text():
    rename = "import os\nopen('/proc/self/comm', 'wb').write(b'a\\n\\x1b[31m')\n"
    code = rename + "if not os.fork(): os._exit(0)\nos.wait()"
    result = run("forksnoop", "--", sys.executable, "-c", code)
    assert "\x1b" not in result.out
    assert len(result.out.splitlines()) == 2
