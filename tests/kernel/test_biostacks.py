"""Test biostacks against requests to a loop device of the test's own."""

from __future__ import annotations

import os

import pytest

from support.cli import start, stop
from support.disks import BLOCK, file_system, loop, readers, work

pytestmark = pytest.mark.kernel


def total(rows, frame):
    """Return the requests and bytes of the stacks that contain a function of the kernel."""
    actual = [row for row in rows if any(frame in name for name in row["kernel"])]
    return sum(row["requests"] for row in actual), sum(row["bytes"] for row in actual)


@pytest.mark.smoke
@pytest.mark.lab
def test_reads_and_writes_have_the_stack_of_their_call(tmp_path):
    with loop(tmp_path) as device:
        tracer = start("biostacks", "-f", "json", "-p", os.getpid(), 60)
        work(device, reads=101, writes=23)
        result = stop(tracer)
    assert result.status == 0, result.err
    rows = result.of("summary")
    assert {row["pid"] for row in rows} == {os.getpid()}
    assert total(rows, "blkdev_read_iter") == (101, 101 * BLOCK)
    assert total(rows, "blkdev_write_iter") == (23, 23 * BLOCK)
    assert sum(row["requests"] for row in rows) == 124


def test_each_stack_is_of_the_process_that_made_the_requests(tmp_path):
    """A stack belongs to the process that made the request, not to the one that runs at its completion."""
    with loop(tmp_path) as device:
        tracer = start("biostacks", "-f", "json", "-K", 60)
        expected = readers(device, {"one": 211, "two": 199, "a\x1b[31m\n": 101})
        result = stop(tracer)
    for pid, (name, sectors) in expected.items():
        rows = [row for row in result.of("summary") if row["pid"] == pid]
        assert {row["comm"] for row in rows} == {name}
        assert total(rows, "blkdev_read_iter") == (len(sectors), len(sectors) * BLOCK)


def test_the_flusher_is_not_named(tmp_path):
    with loop(tmp_path) as device, file_system(device, tmp_path) as mount_point:
        tracer = start("biostacks", "-f", "json", "-K", 60)
        (mount_point / "file").write_bytes(bytes(101 * BLOCK))
        os.sync()
        result = stop(tracer)
    flushed = [row for row in result.of("summary") if any("wb_w" in name for name in row["kernel"])]
    assert sum(row["bytes"] for row in flushed) >= 101 * BLOCK
    assert {(row["pid"], row["comm"]) for row in flushed} == {(None, None)}


def test_folded_stacks_without_a_process_begin_with_a_dash(tmp_path):
    with loop(tmp_path) as device:
        tracer = start("biostacks", "-f", "folded", "-K", "-d", 60)
        work(device, writes=1, flushes=23)
        result = stop(tracer)
    assert result.status == 0, result.err
    [flushed] = [line for line in result.out.splitlines() if line.startswith("- ")]
    assert int(flushed.split()[1]) >= 23
