"""Test writeback on a disk of the test's own, beside what the kernel counts of its writes."""

from __future__ import annotations

import ctypes
import os

import pytest

from support.cli import start, stop
from support.filesystems import mounted

pytestmark = pytest.mark.kernel
PAGES = 1009


def syncfs(folder):
    file = os.open(folder, os.O_RDONLY)
    try:
        assert ctypes.CDLL(None).syncfs(file) == 0
    finally:
        os.close(file)


def device_of(folder):
    number = folder.stat().st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def sectors_written(folder):
    """Return the count of /sys/block/DISK/stat."""
    with open(f"/sys/dev/block/{device_of(folder)}/stat") as file:
        return int(file.read().split()[6])


def passes(folder, *words, workload):
    """Return the events of this disk while ``workload()`` runs, and how many sectors the disk was written."""
    syncfs(folder)
    tracer = start("writeback", "-f", "json", "-d", 600, *words)
    before = sectors_written(folder)
    workload()
    after = sectors_written(folder)
    result = stop(tracer)
    assert result.status == 0, result.err
    assert result.of("loss") == []
    return [event for event in result.of("event") if event["device"] == device_of(folder)], after - before


def write(folder):
    (folder / "file").write_bytes(bytes(PAGES * 4096))


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", [pytest.param("raw-tracepoint", marks=pytest.mark.smoke), "tracepoint"]
)
def test_each_dirty_page_is_written_once(alternative, tmp_path):
    with mounted(tmp_path) as folder:

        def workload():
            write(folder)
            syncfs(folder)

        actual, sectors = passes(folder, "--hook", f"writeback={alternative}", workload=workload)
    assert sum(event["pages"] for event in actual) == PAGES
    assert {event["reason"] for event in actual} == {"sync"}
    assert all(event["took_ns"] > 0 and event["pages"] > 0 for event in actual)
    # With the journal's, and no longer than the pages can be.
    assert PAGES * 8 <= sectors <= 2 * PAGES * 8
    # Nobody is blamed, and least of all the worker that runs.
    assert not {"pid", "comm"} & set(actual[0])


def test_synchronous_writes_are_not_writeback(tmp_path):
    with mounted(tmp_path) as folder:

        def workload():
            write(folder)
            file = os.open(folder / "file", os.O_RDWR)
            os.fsync(file)
            os.close(file)

        actual, sectors = passes(folder, workload=workload)
    assert sum(event["pages"] for event in actual) < PAGES
    assert sectors >= PAGES * 8


def test_passes_without_pages_and_long_ones_are_requested(tmp_path):
    with mounted(tmp_path) as folder:

        def workload():
            write(folder)
            syncfs(folder)
            syncfs(folder)

        actual, _ = passes(folder, "--min-pages", 0, workload=workload)
        assert sum(event["pages"] for event in actual) == PAGES
        assert 0 in {event["pages"] for event in actual}
        assert passes(folder, "--min", "100s", workload=workload)[0] == []
