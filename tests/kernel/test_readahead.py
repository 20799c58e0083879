"""Test readahead on a file of a file system of the test's own, beside what the cache has of it (mincore)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.cli import start, stop
from support.filesystems import mounted

pytestmark = pytest.mark.kernel
PAGES = 1009
STEPS = 101
# Reads the first pages of a file that is not cached, one by one; counts pages read from the disk, and cached.
WORKLOAD = """
import ctypes, json, mmap, os, sys, time
path, pages, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
file = os.open(path, os.O_RDWR | os.O_CREAT)
os.write(file, bytes(pages * 4096))
os.fsync(file)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
os.lseek(file, 0, 0)
libc = ctypes.CDLL(None)
def cached():
    with mmap.mmap(file, pages * 4096) as memory:
        there = (ctypes.c_ubyte * pages)()
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(pages * 4096), there) == 0
        return [byte & 1 for byte in there]
def disk():
    with open("/proc/self/io") as counts:
        return dict(line.split(": ") for line in counts)["read_bytes"]
os.write(1, b"ready\\n")
open("/proc/self/comm", "wb").write(b"reads\\n\\x1b[31m")
sys.stdin.readline()
before = int(disk())
for number in range(steps):
    os.read(file, 4096)
read = (int(disk()) - before) // 4096
kept = cached()
for _ in range(500):  # what is still on its way from the disk is not there yet
    if sum(kept) == read:
        break
    time.sleep(0.01)
    kept = cached()
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
os.write(2, json.dumps([read, sum(kept), sum(kept[:steps]), sum(cached())]).encode())
"""


def run_workload(tmp_path, *words):
    pipe = subprocess.PIPE
    with mounted(tmp_path) as folder:
        command = [sys.executable, "-c", WORKLOAD, str(folder / "file"), str(PAGES), str(STEPS)]
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
            process.stdout.readline()
            tracer = start("readahead", 60, "-p", process.pid, *words)
            _, report = process.communicate("\n")
            result = stop(tracer)
    assert result.status == 0, result.err
    return result, json.loads(report), process.pid


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", ["raw-tracepoint", pytest.param("tracepoint", marks=pytest.mark.smoke)]
)
def test_pages_read_ahead_are_used_or_not(alternative, tmp_path):
    words = ["-f", "json", "--by", "pid", "--hook", f"return={alternative}"]
    result, (read_pages, kept_pages, kept_of_read, left_pages), pid = run_workload(tmp_path, *words)
    [row] = result.of("summary")
    assert result.of("loss") == []
    assert row["pid"] == pid
    assert (kept_of_read, left_pages) == (STEPS, 0)
    # All that was read from the disk was a miss or ahead of one; what was ahead and then read was no miss.
    assert kept_pages == read_pages
    misses = STEPS - row["used"]
    assert misses > 0
    assert row["ahead"] == read_pages - misses
    assert row["unused"] == kept_pages - STEPS
    assert row["used"] + row["unused"] == row["ahead"]
    assert row["total_ns"] >= row["max_ns"] > 0


def test_hostile_names_stay_on_their_line(tmp_path):
    result, _, _ = run_workload(tmp_path, "--by", "comm")
    assert "\x1b" not in result.out
    assert r"reads\n\x1b[31m" in result.out
