"""Test drsnoop in a memory cgroup of its own: a process that reads more than fits reclaims what it read
before."""

from __future__ import annotations

import re
import sys

import pytest

from support.cli import run
from support.disks import loop
from support.memory import limit_hits, memory_cgroup

pytestmark = pytest.mark.kernel
LIMIT = 16 << 20
WORKLOAD = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
open("/proc/self/comm", "wb").write(b"reads\\n\\x1b[31m")
file = os.open(sys.argv[2], os.O_RDWR)
for _ in range(48):
    os.write(file, bytes(1 << 20))
    os.fdatasync(file)
os.close(file)
"""


def reclaimed(tmp_path, *words):
    # Pages of a disk can be reclaimed wherever tmp_path is; those of a file in memory cannot. The file
    # behind the disk is allocated before, or it would be charged to the cgroup.
    with loop(tmp_path) as disk, memory_cgroup(LIMIT) as folder:
        with open(tmp_path / "disk", "r+b") as disk_file:
            disk_file.write(bytes(64 << 20))
        command = [sys.executable, "-c", WORKLOAD, str(folder), str(disk)]
        result = run("drsnoop", *words, "--", *command)
        assert result.status == 0, result.err
        return result, limit_hits(folder)


@pytest.mark.smoke
@pytest.mark.lab
def test_reclaims_are_those_that_the_cgroup_counts(tmp_path):
    result, hits = reclaimed(tmp_path, "-f", "json")
    events = [event for event in result.of("event") if event["memory"] == "cgroup"]
    # Each time that a charge hits the limit, the task reclaims. Of some it is the worker of the loop device,
    # which charges the cgroup that it works for.
    assert 0.9 * hits <= len(events) <= hits
    assert hits > 0
    assert {event["comm"] for event in events} == {"reads\n\x1b[31m"}
    assert len({event["pid"] for event in events}) == 1
    # 48 MiB were written, of which 16 MiB fit.
    assert sum(event["pages"] for event in events) * 4096 >= (48 << 20) - LIMIT
    assert all(event["took_ns"] > 0 for event in events)


def test_only_long_ones_and_hostile_names(tmp_path):
    result, _ = reclaimed(tmp_path, "--min", "100s")
    assert "reads" not in result.out
    result, _ = reclaimed(tmp_path)
    assert "\x1b" not in result.out
    assert re.search(r"reads\\n\\x1b\[31m +cgroup +0 ", result.out)
