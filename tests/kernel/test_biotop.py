"""Test biotop against processes that read a loop device of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import cpu_contention
from support.cli import start, stop
from support.disks import BLOCK, completed_requests, loop, readers, schedulers, transferred_bytes, work

pytestmark = pytest.mark.kernel
COUNTS = {"one": 211, "two": 101, "three": 23}


def summary(*words, workload):
    """Return the rows of the whole run while ``workload()`` runs."""
    tracer = start("biotop", "-f", "json", 60, *words)
    completed_requests = workload()
    result = stop(tracer)
    assert result.status == 0, result.err
    assert {loss["reason"] for loss in result.of("loss")} <= {"missed"}  # another disk's
    return result.of("summary"), completed_requests


@pytest.mark.smoke
@pytest.mark.lab
def test_requests_and_bytes_of_each_process_and_of_the_disk(tmp_path):
    """Processes that share the disk's queue have their own rows, and the sum is what the kernel counts."""
    with loop(tmp_path) as device:
        for scheduler in schedulers(device):
            before = completed_requests(device)["read"], transferred_bytes(device)["read"]
            rows, expected = summary("--by", "pid,disk", workload=lambda: readers(device, COUNTS))
            after = completed_requests(device)["read"], transferred_bytes(device)["read"]
            rows = [row for row in rows if row["disk"] == device.name]
            # Linux 7.2, emulated and busy, has a few requests without their owner: nobody's, not another's.
            nobodys = sum(row["requests"] for row in rows if row["pid"] is None)
            assert nobodys <= (5 if cpu_contention.LAB else 0), rows
            owned = {row["pid"]: (row["comm"], row["requests"], row["bytes"]) for row in rows if row["pid"]}
            whole = {pid: (name, len(sectors)) for pid, (name, sectors) in expected.items()}
            assert {pid: name for pid, (name, _, _) in owned.items()} == {pid: whole[pid][0] for pid in whole}
            assert all(requests <= whole[pid][1] for pid, (_, requests, _) in owned.items()), scheduler
            assert sum(count for _, count in whole.values()) == nobodys + sum(
                row[1] for row in owned.values()
            )
            assert all(size == requests * BLOCK for _, requests, size in owned.values())
            assert sum(row["requests"] for row in rows) == after[0] - before[0]
            assert sum(row["bytes"] for row in rows) == after[1] - before[1]
            assert all(row["total_ns"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("operation", {"read": 101, "write": 23}),
        ("comm,operation", {("biotop-test", "read"): 101, ("biotop-test", "write"): 23}),
    ],
)
def test_rows_by_other_keys(tmp_path, by, expected):
    with loop(tmp_path) as device:

        def rename():
            comm_file = Path("/proc/thread-self/comm")
            before = comm_file.read_text().rstrip("\n")
            comm_file.write_text("biotop-test")
            try:
                return work(device, reads=101, writes=23)
            finally:
                comm_file.write_text(before)

        rows, _ = summary("--by", by, "-p", os.getpid(), workload=rename)
    keys = by.split(",")
    actual = {tuple(row[key] for key in keys) if len(keys) > 1 else row[by]: row["requests"] for row in rows}
    assert actual == expected
    assert sum(row["bytes"] for row in rows) == 124 * BLOCK


def test_rows_that_do_not_fit_are_counted(tmp_path):
    with loop(tmp_path) as device:
        words = ["--by", "pid,operation", "--max-rows", 1, "-p", os.getpid()]
        tracer = start("biotop", "-f", "json", 60, *words)
        completed_requests = work(device, reads=101, writes=23)
        result = stop(tracer)
    shown_requests = sum(row["requests"] for row in result.of("summary"))
    lost = sum(loss["lost"] for loss in result.of("loss") if loss["reason"] == "map_full")
    assert shown_requests in (101, 23)
    assert shown_requests + lost == sum(completed_requests.values())
