"""Test futexstat against calls of futex(2) that wait a known number of times, and beside strace."""

from __future__ import annotations

import re
import sys

import pytest

from support.cli import run

pytestmark = pytest.mark.kernel
# Each wait ends by its timeout of 5 ms; a value that is not there any more is missed.
WORKLOAD = """
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
word = ctypes.c_uint32(7)
timeout = struct.pack("qq", 0, 5_000_000)
def wait(value, command=0):
    libc.syscall(202, ctypes.byref(word), command, value, timeout, None, -1)
for _ in range(23):
    wait(7)
for _ in range(17):
    wait(8)
for _ in range(13):
    wait(7, 128)
libc.syscall(202, ctypes.byref(word), 1, 1, None, None, 0)  # FUTEX_WAKE
print(hex(ctypes.addressof(word)), flush=True, file=sys.stderr)
"""


def rows(*words, command=(sys.executable, "-c", WORKLOAD)):
    result = run("futexstat", *words, "-f", "json", "--", *command)
    assert result.status == 0, result.err
    address = re.search(r"^0x[0-9a-f]+$", result.err, re.M)[0]
    return [row for row in result.of("summary") if row.get("lock", address) == address], result


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", [pytest.param("raw-tracepoint", marks=pytest.mark.smoke), "tracepoint"]
)
def test_waits_and_missed_values_are_counted(alternative):
    [row], _ = rows("--hook", f"return={alternative}")
    assert (row["waits"], row["missed"], row["comm"]) == (23 + 13, 17, "python")
    assert row["total_ns"] >= 36 * 5_000_000
    assert row["max_ns"] >= 5_000_000


def test_strace_counts_the_same():
    [row], result = rows(command=["strace", "-f", "-e", "trace=futex", sys.executable, "-c", WORKLOAD])
    waited = re.findall(r"FUTEX_WAIT(?:_PRIVATE)?, 7, .* ETIMEDOUT", result.err)
    missed = re.findall(r"FUTEX_WAIT, 8, .* EAGAIN", result.err)
    assert (row["waits"], row["missed"]) == (len(waited), len(missed)) == (36, 17)


def test_only_long_waits_and_by_process():
    [row], _ = rows("--min", "5ms", "--by", "pid")
    assert (row["waits"], row["missed"], row["comm"]) == (36, 0, "python")


def test_stacks_lead_to_the_call():
    actual, _ = rows("--stacks", "--by", "lock")
    assert sum(row["waits"] for row in actual) == 36
    assert all(any("syscall" in frame for frame in row["user"]) for row in actual)
