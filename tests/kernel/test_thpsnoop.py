"""Test thpsnoop against a process that collapses known parts of its memory, and the kernel's account of
them."""

from __future__ import annotations

import json
import sys

import pytest

from support.cli import run
from support.needs import needs, running

pytestmark = pytest.mark.kernel
COLLAPSE = "MADV_COLLAPSE"
REGIONS = 7
# Touches small pages, and makes each region one huge page; but the last, of which the kernel holds a page.
CODE = f"""
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
SIZE = 2 << 20
open("/proc/self/comm", "wb").write(b"huge\\n\\x1b[31m")
libc.prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: page faults make small pages
start = libc.mmap(None, ctypes.c_size_t(({REGIONS} + 2) * SIZE), 3, 0x22, -1, 0)
start = (start + SIZE - 1) // SIZE * SIZE
ctypes.memset(start, 1, ({REGIONS} + 1) * SIZE)
libc.prctl(41, 0, 0, 0, 0)
def collapse(number):
    done = libc.madvise(ctypes.c_void_p(start + number * SIZE), ctypes.c_size_t(SIZE), 25)
    return ctypes.get_errno() if done else 0
results = [collapse(number) for number in range({REGIONS})]
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
pipe = os.pipe()
held = Vector(start + {REGIONS} * SIZE, 4096)
assert libc.vmsplice(pipe[1], ctypes.byref(held), 1, 0) == 4096
results.append(collapse({REGIONS}))
smaps = open("/proc/self/smaps").read().splitlines()
huge = sum(int(line.split()[1]) for line in smaps if line.startswith("AnonHugePages"))
print(json.dumps([os.getpid(), results, huge]), file=sys.stderr)
"""


def attempts(*words):
    needs(COLLAPSE, not running().excuse(COLLAPSE))
    result = run("thpsnoop", *words, "--", sys.executable, "-c", CODE)
    assert result.status == 0, result.err
    message = next(line for line in result.err.splitlines() if line.startswith("["))
    return result, json.loads(message)


@pytest.mark.smoke
@pytest.mark.lab
def test_collapses_and_refusals_are_shown():
    result, (pid, results, huge) = attempts("-f", "json", "--by", "pid,memory,cause,result")
    assert results[:-1] == [0] * REGIONS
    assert results[-1] != 0
    assert huge == REGIONS * 2048
    assert not result.of("loss")
    rows = result.of("summary")
    assert {(row["pid"], row["comm"]) for row in rows} == {(pid, "huge\n\x1b[31m")}
    itself = [row for row in rows if row["cause"] == "itself"]
    assert {row["memory"] for row in itself} == {"anonymous"}
    by_result = {row["result"]: row["attempts"] for row in itself}
    assert by_result.pop("succeed") == REGIONS
    assert set(by_result) == {"page_count"}


def test_hostile_names_stay_text():
    result, _ = attempts()
    assert "\x1b" not in result.out
    assert "huge\\n\\x1b[31m" in result.out
    assert "succeed" in result.out
