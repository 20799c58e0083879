"""Test biopattern against reads of known places of a loop device of the test's own."""

from __future__ import annotations

import mmap
import os
import threading

import pytest

from support.cli import start, stop
from support.disks import BLOCK, loop, readers

pytestmark = pytest.mark.kernel


def read_blocks(device, blocks):
    """Read these blocks, one after the other."""
    with mmap.mmap(-1, BLOCK) as page:
        fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
        try:
            for number in blocks:
                assert os.preadv(fd, [page], number * BLOCK) == BLOCK
        finally:
            os.close(fd)


@pytest.mark.lab
@pytest.mark.parametrize(
    ("blocks", "sequential"),
    [
        pytest.param(range(101), 100, marks=pytest.mark.smoke),
        (range(100, -1, -1), 0),
        ([number * 7 % 101 for number in range(101)], 0),
        ([*range(23), *range(1000, 1101)], 22 + 100),
        ([5] * 23, 0),
    ],
    ids=["forward", "backward", "scattered", "two-runs", "again"],
)
def test_a_request_that_follows_the_previous_one_is_sequential(tmp_path, blocks, sequential):
    with loop(tmp_path) as device:
        tracer = start("biopattern", "-f", "json", "-p", os.getpid(), 60)
        read_blocks(device, blocks)
        result = stop(tracer)
    assert result.status == 0, result.err
    [row] = result.of("summary")
    count = len(blocks)
    assert (row["disk"], row["requests"], row["bytes"]) == (device.name, count, count * BLOCK)
    assert (row["sequential"], row["random"]) == (sequential, count - sequential)


def test_each_process_has_a_pattern_of_its_own(tmp_path):
    """Two processes that read forward at the same time make a disk jump, but each one's pattern is
    sequential."""
    with loop(tmp_path) as device:
        tracer = start("biopattern", "-f", "json", "--by", "pid,disk", 60)
        expected = readers(device, {"one": 211, "two": 199})
        result = stop(tracer)
    rows = {row["pid"]: row for row in result.of("summary") if row["disk"] == device.name}
    for pid, (name, sectors) in expected.items():
        row = rows[pid]
        assert (row["comm"], row["sequential"], row["random"]) == (name, len(sectors) - 1, 1)


def test_threads_of_a_process_are_one_pattern(tmp_path):
    with loop(tmp_path) as device:
        tracer = start("biopattern", "-f", "json", "-p", os.getpid(), 60)
        for first in (0, 23):
            thread = threading.Thread(target=read_blocks, args=(device, range(first, first + 23)))
            thread.start()
            thread.join()
        result = stop(tracer)
    [row] = result.of("summary")
    assert (row["sequential"], row["random"]) == (45, 1)
