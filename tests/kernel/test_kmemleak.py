"""Test kmemleak against pipes that a process makes, keeps in a process that goes on, and closes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.cli import run

pytestmark = pytest.mark.kernel
KEPT, CLOSED = 101, 53
ALLOCATORS = ("kmalloc", "__kmalloc", "kmem_cache_alloc", "__kmem_cache_alloc", "slab_alloc")
# A child, which goes on when the command has ended, keeps pipes. Each is a structure of the kernel and
# an array of buffers.
WORKLOAD = f"""
import json, os, time
open("/proc/self/comm", "wb").write(b"leaks\\n\\x1b[31m")
kept = [os.pipe() for _ in range({KEPT})]
for read, write in [os.pipe() for _ in range({CLOSED})]:
    os.close(read)
    os.close(write)
child = os.fork()
if not child:
    for number in range(3):
        os.dup2(os.open("/dev/null", os.O_RDWR), number)
    time.sleep(600)
print(json.dumps(child), flush=True)
time.sleep(0.2)
"""


def allocated(*words, function="alloc_pipe_info"):
    """Run it and return the rows of blocks that a function allocates, and the result."""
    result = run("kmemleak", *words, "--", sys.executable, "-c", WORKLOAD)
    assert result.status == 0, result.err
    [child] = [line for line in result.out.splitlines() if line.isdigit()]
    subprocess.run(["kill", "-KILL", child], check=True)
    result.out = "".join(f"{line}\n" for line in result.out.splitlines() if line != child)
    if "json" not in words:
        return [], result
    rows = result.of("summary")
    return [row for row in rows if is_of(function, row["kernel"])], result


def is_of(function, frames):
    """Return whether the function itself allocates, and not a slab for its own needs."""
    stack = [frame.partition("+")[0] for frame in frames]
    return function in stack and all(name.startswith(ALLOCATORS) for name in stack[: stack.index(function)])


@pytest.mark.smoke
@pytest.mark.lab
def test_leaked_memory_is_shown_by_its_allocating_stack():
    rows, result = allocated("-f", "json")
    # What an interrupt frees while our program runs on that CPU is not seen, and counted as lost.
    lost = sum(record["lost"] for record in result.of("loss"))
    assert abs(sum(row["blocks"] for row in rows) - 2 * KEPT) <= lost
    # A pipe has 16 buffers of 40 bytes.
    assert sum(row["bytes"] for row in rows) >= KEPT * 640
    # The way from the tracepoint to our program is no part of a stack.
    assert not any("bpf" in frame for row in rows for frame in row["kernel"])


def test_samples_and_large_blocks():
    rows, _ = allocated("-f", "json", "--sample", "3")
    assert all(row["blocks"] % 3 == 0 for row in rows)
    rows, result = allocated("-f", "json", "--min-size", "600")
    assert abs(sum(row["blocks"] for row in rows) - KEPT) <= sum(r["lost"] for r in result.of("loss"))
    assert all(row["bytes"] >= 600 * row["blocks"] for row in result.of("summary"))


@pytest.mark.lab
def test_pages_of_a_running_process():
    size = 23 << 20
    code = WORKLOAD.replace("kept =", f"memory = bytearray({size}); kept =")
    result = run("kmemleak", "--pages", "-f", "json", "--", sys.executable, "-c", code)
    assert result.status == 0, result.err
    [child] = [line for line in result.out.splitlines() if line.isdigit()]
    subprocess.run(["kill", "-KILL", child], check=True)
    rows = [json.loads(line) for line in result.out.splitlines() if line.startswith("{")]
    assert sum(row["bytes"] for row in rows if row["kind"] == "summary") >= size


def test_events_that_do_not_fit_are_counted():
    _, result = allocated("-f", "json", "--max-blocks", "16")
    assert sum(record["lost"] for record in result.of("loss")) > 0
