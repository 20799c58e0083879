"""Test numamove of a process that moves known pages between memory nodes; on a machine with one, nothing
moves.

tests/vm/test_numa.py runs this in virtual machines with two nodes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.cli import run

pytestmark = pytest.mark.kernel
PAGES = 37
HAS_NODES = Path("/sys/devices/system/node/node1").exists()
# Moves pages to the first node, and then to the second, if there is one; each was written to before.
WORKLOAD = f"""
import ctypes, json, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
open("/proc/self/comm", "wb").write(b"moves\\n\\x1b[31m")
memory = mmap.mmap(-1, {PAGES} * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(15)  # MADV_NOHUGEPAGE
memory[:] = bytes([1]) * len(memory)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
pages = (ctypes.c_void_p * {PAGES})(*(start + 4096 * number for number in range({PAGES})))
def move(node):
    nodes = (ctypes.c_int * {PAGES})(*[node] * {PAGES})
    status = (ctypes.c_int * {PAGES})()
    assert libc.syscall(279, 0, ctypes.c_ulong({PAGES}), pages, nodes, status, 2) == 0  # move_pages
    return list(status)
move(0)
os.write(2, json.dumps([os.getpid(), [move(node) for node in map(int, sys.argv[1:])]]).encode() + b"\\n")
"""


def moved(*words, nodes=()):
    result = run("numamove", *words, "--", sys.executable, "-c", WORKLOAD, *nodes)
    assert result.status == 0, result.err
    return result, json.loads(next(line for line in result.err.splitlines() if line.startswith("[")))


@pytest.mark.smoke
@pytest.mark.lab
def test_pages_are_counted_as_they_move():
    if not HAS_NODES:
        result, (_, statuses) = moved("-f", "json", nodes=["0"])
        assert statuses == [[0] * PAGES]
        assert not result.of("summary")
        return
    _, (_, before) = moved("-f", "json")
    assert before == []
    result, (pid, statuses) = moved("-f", "json", nodes=["1", "0", "1"])
    assert statuses == [[node] * PAGES for node in (1, 0, 1)]
    rows = [row for row in result.of("summary") if row["cause"] == "syscall"]
    assert [(row["pid"], row["comm"]) for row in rows] == [(pid, "moves\n\x1b[31m")]
    # At first they may be on either node, or on both.
    assert 3 * PAGES <= rows[0]["attempts"] <= 4 * PAGES
    assert rows[0]["failed"] == 0


def test_hostile_names_stay_text():
    result, _ = moved(nodes=["1", "0"] if HAS_NODES else ["0"])
    assert "\x1b" not in result.out
    assert (r"moves\n\x1b[31m" in result.out) == HAS_NODES
