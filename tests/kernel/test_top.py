"""Test top against the kernel's own counts of the same: /proc/PID/schedstat, stat and io."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli import finish, run, start, stop, wait_for
from support.needs import was_refused

pytestmark = pytest.mark.kernel
PAGES = 101
WORK = f"""
import mmap, os, socket, sys
here = sys.argv[1]
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for line in sys.stdin:
    for _ in range(23): os.getppid()
    area = mmap.mmap(-1, {PAGES} * mmap.PAGESIZE)
    for page in range({PAGES}): area[page * mmap.PAGESIZE] = 1
    with open(here + "/file", "wb") as file:
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
    with open(here + "/file", "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.read()
    sum(range(1_000_000))
    for _ in range(7): sender.sendto(bytes(100), ("127.0.0.1", 9))
    print("done", flush=True)
"""


def witness(pid):
    """Return the kernel's counts of a process with one thread, by the columns of top."""
    proc = Path(f"/proc/{pid}")
    cpu, queued, _ = map(int, (proc / "schedstat").read_text().split())
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    io = dict(line.split(": ") for line in (proc / "io").read_text().splitlines())
    return {
        "cpu_ns": cpu,
        "queued_ns": queued,
        "minor_faults": int(fields[7]),
        "major_faults": int(fields[9]),
        "read_bytes": int(io["read_bytes"]),
        "written_bytes": int(io["write_bytes"]),
    }


def sleeps(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@pytest.fixture
def worker(tmp_path):
    """Run a process that works for each line, and else sleeps."""
    with subprocess.Popen(
        [sys.executable, "-c", WORK, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        wait_for(lambda: sleeps(process.pid), "the worker waits")
        yield process
        process.kill()


def work(process):
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"
    wait_for(lambda: sleeps(process.pid), "the worker waits again")


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ["raw-tracepoint", "fexit"])
def test_rows_equal_the_kernels_counts(worker, alternative):
    hook = ["--hook", f"socket_bytes={alternative}"]
    if was_refused(run("top", "--dry-run", *hook), {"socket_bytes": alternative}):
        return
    tracer = start("top", "-f", "json", *hook, "-p", worker.pid, 60)
    before = witness(worker.pid)
    for _ in range(3):
        work(worker)
    after = witness(worker.pid)
    result = stop(tracer)
    assert result.of("loss") == []
    [row] = result.of("summary")
    counts = {name: row[name] for name in before}
    assert counts == {name: after[name] - before[name] for name in before}
    assert row["pid"] == worker.pid
    assert row["minor_faults"] >= 3 * PAGES
    assert row["tx_bytes"] == 3 * 7 * 100
    assert row["calls"] > 3 * 23
    assert 0 < row["blocked_ns"] < 60e9


def test_system_calls_are_those_that_syscalls_counts(worker):
    words = ("-f", "json", "-p", worker.pid, 60)
    tracers = [start("top", *words), start("syscalls", "--count", "--by", "pid", *words)]
    work(worker)
    top, calls = ([row["calls"] for row in stop(tracer).of("summary")] for tracer in tracers)
    assert top == calls


def test_threads_and_names():
    code = (
        "import threading, time\n"
        "def work():\n    time.sleep(0.05); sum(range(2_000_000))\n"
        "threads = [threading.Thread(target=work) for _ in range(5)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]"
    )
    command = ("--", sys.executable, "-c", code)
    result = run("top", "-f", "json", "--by", "pid,tid,comm", *command)
    rows = result.of("summary")
    assert len({row["tid"] for row in rows}) == 6
    assert len({row["pid"] for row in rows}) == 1
    assert all(row["cpu_ns"] > 1_000_000 for row in rows)


def test_bytes_in_both_directions():
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = f"s = socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))"
        code = f"import socket; {connect}; s.sendall(bytes(1000)); s.recv(70); s.recv(1)"
        tracer = start("top", "-f", "json", "--", sys.executable, "-c", code)
        peer, _ = server.accept()
        with peer:
            received_bytes = 0
            while received_bytes < 1000:
                received_bytes += len(peer.recv(1000))
            peer.sendall(bytes(70))
        result = finish(tracer)
    [row] = result.of("summary")
    assert (row["tx_bytes"], row["rx_bytes"]) == (1000, 70)
