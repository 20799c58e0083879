"""Test cachestat and cachetop on files of a file system of the test's own, beside what /proc/PID/io
counts."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.cli import run, start, stop
from support.filesystems import mounted

pytestmark = pytest.mark.kernel
PAGES = 257
HOSTILE = "cold\n\x1b[2J"
# Each file is read or written in one manner; what /proc/self/io says of it goes to standard error.
WORKLOAD = """
import json, mmap, os, sys
folder, pages = sys.argv[1], int(sys.argv[2])
size, seen = pages * 4096, {}
def counts():
    return {k: int(v) for k, v in (line.split(": ") for line in open("/proc/self/io"))}
def evicted(name):
    file = os.open(os.path.join(folder, name), os.O_RDWR | os.O_CREAT)
    os.write(file, bytes(size - 100))
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(file, 0, 0)
    return file
def whole(file):
    assert len(os.read(file, 2 * size)) == size - 100
def again(file):
    whole(file)
    os.lseek(file, 0, 0)
    whole(file)
def steps(file):
    while os.read(file, 4096):
        pass
def vectors(file):
    assert os.preadv(file, [bytearray(4096) for _ in range(3)], 0) == 3 * 4096
def straddling(file):
    whole(file)
    assert len(os.pread(file, 2, 4095)) == 2
def mapped(file):
    with mmap.mmap(file, size - 100, prot=mmap.PROT_READ) as memory:
        sum(memory[::4096])
def direct(file):
    again = os.open(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, size) as memory:
        os.preadv(again, [memory], 0)
    os.close(again)
def written(file):
    os.pwrite(file, bytes(101 * 4096), 0)
USES = {"cold\\n\\x1b[2J": whole, "again": again, "steps": steps, "vectors": vectors,
        "straddling": straddling, "mapped": mapped, "direct": direct, "written": written}
files = {name: evicted(name) for name in USES}
os.write(1, b"ready\\n")
sys.stdin.readline()
for name, use in USES.items():
    before = counts()
    use(files[name])
    after = counts()
    seen[name] = [(after[key] - before[key]) // 4096 for key in ("read_bytes", "write_bytes")]
os.write(2, json.dumps(seen).encode())
"""


def run_workload(tmp_path, tracer, *words):
    """Return the rows of the workload's run since its files were evicted, and the counts that it printed."""
    with mounted(tmp_path) as folder:
        command = [sys.executable, "-c", WORKLOAD, str(folder), str(PAGES)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
            process.stdout.readline()
            tracer = start(tracer, "-f", "json", 60, "-p", process.pid, *words)
            _, report = process.communicate("\n")
            result = stop(tracer)
    assert result.status == 0, result.err
    assert result.of("loss") == []
    return result.of("summary"), json.loads(report), process.pid


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", ["raw-tracepoint", pytest.param("tracepoint", marks=pytest.mark.smoke)]
)
def test_misses_then_hits_page_by_page(alternative, tmp_path):
    rows, by_name, _ = run_workload(tmp_path, "cachestat", "--by", "file", "--hook", f"return={alternative}")
    actual = {row["file"]: row for row in rows if row["file"] in by_name}
    counts = {name: (row["hits"], row["misses"]) for name, row in actual.items()}
    assert counts[HOSTILE] == (0, PAGES)
    assert counts["again"] == (PAGES, PAGES)
    assert sum(counts["steps"]) == PAGES
    assert 0 < counts["steps"][1] < PAGES  # the rest was read ahead
    assert counts["vectors"] == (0, 3)
    assert counts["straddling"] == (2, PAGES)
    assert counts["mapped"] == counts["written"] == (0, 0)
    assert "direct" not in actual
    assert actual["again"]["hit_percent"] == 50
    assert actual["mapped"]["hit_percent"] is None
    # The kernel's own counts: what was read from the disk, and dirtied.
    for name, row in actual.items():
        read_pages, dirtied = by_name[name]
        assert row["dirtied"] == dirtied
        assert row["added"] == (101 if name == "written" else read_pages), name
    assert {name: actual[name]["added"] for name in (HOSTILE, "again", "steps", "mapped")} == dict.fromkeys(
        (HOSTILE, "again", "steps", "mapped"), PAGES
    )
    assert actual["vectors"]["added"] > 3
    assert actual["written"]["dirtied"] == 101


def test_cachetop_is_by_process(tmp_path):
    [row], by_name, pid = run_workload(tmp_path, "cachetop")
    assert row["pid"] == pid
    assert row["misses"] >= 3 * PAGES
    assert row["dirtied"] == sum(dirtied for _, dirtied in by_name.values()) == 101


def test_hostile_names_stay_on_their_line(tmp_path):
    with mounted(tmp_path) as folder:
        path = folder / HOSTILE
        path.write_bytes(bytes(8192))
        result = run("cachestat", "--by", "file", "--", sys.executable, "-c", f"open({str(path)!r}).read()")
    assert "\x1b" not in result.out
    assert r"cold\n\x1b[2J" in result.out
