"""Test oomkill beside wait(2), the kernel's count of kills in the memory cgroup, and /proc/vmstat."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.cli import run
from support.memory import kill_count, memory_cgroup
from support.needs import was_refused

pytestmark = pytest.mark.kernel
VICTIMS = 5
# Each child enters the cgroup and takes memory until it is killed.
WORKLOAD = """
import json, os, sys
told = []
for number in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
        open("/proc/self/comm", "wb").write(b"eats\\n\\x1b[31m")
        open("/proc/self/oom_score_adj", "w").write(str(100 + number))
        os.setuid(12345)
        block = []
        while True:
            block.append(bytearray(1 << 20))
    told.append([child, os.waitpid(child, 0)[1], 100 + number])
os.write(2, json.dumps(told).encode())
"""


def vmstat():
    lines = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return int(lines["oom_kill"])


def killed(*words, victims=VICTIMS):
    with memory_cgroup(24 << 20) as folder:
        before = vmstat()
        command = [sys.executable, "-c", WORKLOAD, str(folder), str(victims)]
        result = run("oomkill", *words, "--", *command)
        return result, kill_count(folder), vmstat() - before


@pytest.mark.smoke
@pytest.mark.lab
def test_each_victim_is_shown_once():
    result, by_cgroup, by_machine = killed("-f", "json")
    assert result.status == 0, result.err
    reported = json.loads(result.err)
    assert [status & 0x7F for _, status, _ in reported] == [9] * VICTIMS
    assert by_cgroup == VICTIMS <= by_machine
    events = result.of("event")
    assert [event["victim_pid"] for event in events] == [pid for pid, _, _ in reported]
    assert [event["oom_score_adj"] for event in events] == [score for _, _, score in reported]
    for event in events:
        assert event["pid"] == event["victim_pid"]  # alone in its cgroup, it is the one that asks
        assert event["victim_uid"] == 12345
        assert event["vm_pages"] * 4096 > 24 << 20
        assert event["victim_comm"] == "eats\n\x1b[31m"
        assert event["cgroup"].startswith("/")


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ["raw-tracepoint", "kprobe", "raw-tracepoint-pid"])
def test_each_alternative(alternative):
    expected = {"victim": alternative}
    probe = run("oomkill", "--hook", f"victim={alternative}", "--", "true")
    if was_refused(probe, expected):
        return
    result, _, _ = killed("--hook", f"victim={alternative}", "-f", "json", victims=2)
    reported = json.loads(result.err)
    events = result.of("event")
    if alternative == "raw-tracepoint-pid":  # a task on a newer kernel: its lower half is a number, too
        assert [(event["pid"], event["victim_pid"], event["vm_pages"]) for event in events] == [
            (pid, None, None) for pid, _, _ in reported
        ]
    else:
        assert [event["victim_pid"] for event in events] == [pid for pid, _, _ in reported]


def test_hostile_names_stay_text():
    result, _, _ = killed(victims=1)
    assert "\x1b" not in result.out
    assert len(result.out.splitlines()) == 2
