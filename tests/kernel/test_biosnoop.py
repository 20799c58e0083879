"""Test biosnoop against requests to a loop device of the test's own, and the kernel's count of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

import pytest

from support.cli import run, start, stop
from support.cpu_contention import UNSEEN
from support.disks import (
    BLOCK,
    READER,
    completed_requests,
    file_system,
    loop,
    readers,
    schedulers,
    transferred_bytes,
    work,
)
from support.needs import was_refused

pytestmark = pytest.mark.kernel
WORK = {"reads": 101, "writes": 23, "flushes": 7, "discards": 5}
HOSTILE = "a\x1b[31m\nb\\"


@contextlib.contextmanager
def record_requests(device, *words):
    """Yield a list that gets the device's requests of the block when it ends."""
    tracer = start("biosnoop", "-f", "json", "-d", 60, *words)
    events: list[dict] = []
    try:
        yield events
    finally:
        result = stop(tracer)
    assert result.status == 0, result.err
    assert {loss["reason"] for loss in result.of("loss")} <= {"missed"}  # another disk's
    events += [event for event in result.of("event") if event["disk"] == device.name]


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ["request", pytest.param("bio", marks=pytest.mark.smoke)])
def test_each_request_has_its_place_size_and_process(tmp_path, alternative):
    hook = f"block_submit={alternative}"
    if alternative == "bio" and run("biosnoop", "--dry-run", "--hook", f"{hook}-queue").status == 0:
        hook += "-queue"  # the event has the queue before the bio
    elif was_refused(run("biosnoop", "--dry-run", "--hook", hook), {"block_submit": alternative}):
        return
    with loop(tmp_path) as device, record_requests(device, "--hook", hook) as events:
        before = completed_requests(device), transferred_bytes(device)
        result = work(device, **WORK)
        after = completed_requests(device), transferred_bytes(device)
    for name, count in result.items():
        own_events = [event for event in events if event["operation"] == name and name != "flush"]
        if name == "flush":  # of the disk's cache: one serves all who wait
            assert [e["pid"] for e in events if e["operation"] == "flush"] == [None] * 7
            continue
        # The kernel counts a write of nothing, which no disk gets, for each flush that was asked for.
        requests = result["flush"] if name == "write" else 0
        assert len(own_events) == count == after[0][name] - before[0][name] - requests
        assert sum(event["bytes"] for event in own_events) == after[1][name] - before[1][name]
        assert {event["pid"] for event in own_events} == {os.getpid()}
    for name in ("read", "write"):
        own_events = [event for event in events if event["operation"] == name]
        assert [(e["sector"], e["bytes"]) for e in own_events] == [
            (n * 8, BLOCK) for n in range(len(own_events))
        ]
        assert all(event["queue_ns"] > 0 and event["service_ns"] > 0 for event in own_events)


def test_processes_that_share_a_disk_are_distinguished(tmp_path):
    """The process that runs the queue also hands requests of others to the driver."""
    counts = {"one": 503, "two": 499, "three": 491, "four": 487}
    with loop(tmp_path) as device:
        for scheduler in schedulers(device):
            with record_requests(device) as events:
                expected = readers(device, counts)
            for pid, (name, sectors) in expected.items():
                own_events = [event for event in events if event["sector"] in sectors]
                actual_sectors = [event["sector"] for event in own_events]
                assert len(sectors) - len(actual_sectors) <= UNSEEN, scheduler
                assert actual_sectors == [sector for sector in sectors if sector in actual_sectors], scheduler
                assert {(event["pid"], event["comm"]) for event in own_events} == {(pid, name)}, scheduler
            assert {event["pid"] for event in events} == set(expected)


@pytest.mark.lab
def test_writeback_has_no_submitter(tmp_path):
    """A request of writeback names neither the flusher nor the process that wrote the pages."""
    size = 101 * BLOCK
    with loop(tmp_path) as device, file_system(device, tmp_path) as mount_point:
        libc = ctypes.CDLL(None, use_errno=True)
        folder = os.open(mount_point, os.O_RDONLY)
        assert libc.syncfs(folder) == 0
        with record_requests(device) as events:
            (mount_point / "file").write_bytes(bytes(size))
            assert libc.syncfs(folder) == 0  # the flusher writes, while this waits
        os.close(folder)
    writebacks = [event for event in events if event["operation"] == "write" and event["pid"] is None]
    assert sum(event["bytes"] for event in writebacks) >= size
    assert {event["comm"] for event in writebacks} == {None}
    others = [event for event in events if event["pid"] is not None]
    assert sum(event["bytes"] for event in others) < size  # the file system's own blocks, in syncfs
    assert not [event for event in events if (event["comm"] or "").startswith("kworker")]


@pytest.mark.lab
def test_the_cgroup_that_is_charged(tmp_path):
    """The cgroup is the nearest one of cgroup v2 that has the controller; ids of v1 would name other
    cgroups."""
    with loop(tmp_path) as device, record_requests(device, "-p", os.getpid()) as events:
        work(device, reads=23)
    lines = [line.split(":") for line in Path("/proc/self/cgroup").read_text().splitlines()]
    if any("blkio" in controllers.split(",") for _, controllers, _ in lines):
        assert {event["cgroup"] for event in events} == {None}
    else:
        [own_events] = [path for number, _, path in lines if number == "0"]
        [charged] = {event["cgroup"] for event in events}
        assert f"{own_events}/".replace("//", "/").startswith(charged.rstrip("/") + "/")


def test_only_slow_requests_of_the_command_are_shown(tmp_path):
    with loop(tmp_path) as device:
        command = [sys.executable, "-c", READER, device, 7, 23, HOSTILE]
        readers(device, {"bystander": 7})
        result = run("biosnoop", "-f", "json", "--", *command)
        events = [event for event in result.of("event") if event["disk"] == device.name]
        assert [event["sector"] for event in events] == [n * 8 for n in range(7, 30)]
        assert {event["comm"] for event in events} == {HOSTILE.replace("\\", "\\\\")}
        table = run("biosnoop", "--", *command)
        assert "\x1b" not in table.out
        assert table.out.count("\n") == 24
        assert not run("biosnoop", "-f", "json", "--min", "100s", "--", *command).out


def test_events_that_do_not_fit_are_counted(tmp_path):
    with loop(tmp_path) as device:
        tracer = start("biosnoop", "-f", "json", "--buffer", "4k", "-p", os.getpid(), "-d", 60)
        completed_requests = work(device, reads=2003)
        result = stop(tracer)
    lost = sum(loss["lost"] for loss in result.of("loss") if loss["reason"] == "ring_full")
    assert len(result.of("event")) + lost == completed_requests["read"]
