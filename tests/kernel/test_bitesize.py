"""Test bitesize against requests of known sizes to a loop device of the test's own."""

from __future__ import annotations

import mmap
import os
import sys

import pytest

from support.cli import run, start, stop
from support.disks import BLOCK, READER, loop, transferred_bytes

pytestmark = pytest.mark.kernel
SIZES = {512: 5, 4096: 101, 8192: 23, 65536: 7}


def read_sizes(device):
    """Read a number of times with reads of one size."""
    with mmap.mmap(-1, max(SIZES)) as memory, memoryview(memory) as page:
        fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
        try:
            for size, times in SIZES.items():
                for number in range(times):
                    assert os.preadv(fd, [page[:size]], number * max(SIZES)) == size
        finally:
            os.close(fd)


@pytest.mark.smoke
@pytest.mark.lab
def test_sizes_are_those_of_the_requests(tmp_path):
    with loop(tmp_path) as device:
        before = transferred_bytes(device)["read"]
        tracer = start("bitesize", "-f", "json", "-p", os.getpid(), 60)
        read_sizes(device)
        result = stop(tracer)
        after = transferred_bytes(device)["read"]
    assert result.status == 0, result.err
    [row] = result.of("summary")
    assert {b["low"]: b["count"] for b in row["size_bytes"] if b["count"]} == SIZES
    assert (row["pid"], row["requests"]) == (os.getpid(), sum(SIZES.values()))
    assert row["bytes"] == after - before == sum(size * times for size, times in SIZES.items())
    assert row["max_bytes"] == max(SIZES)


def test_only_the_command(tmp_path):
    with loop(tmp_path) as device:
        command = [sys.executable, "-c", READER, device, 0, 23, "reader"]
        result = run("bitesize", "-f", "json", "--by", "disk,operation", "--", *command)
    [row] = [row for row in result.of("summary") if row["disk"] == device.name]
    assert (row["operation"], row["requests"], row["bytes"]) == ("read", 23, 23 * BLOCK)
