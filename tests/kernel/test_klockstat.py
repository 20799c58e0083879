"""klockstat against a lock that is held for a known time: the mutex of a pipe.

A thread writes to the pipe from memory that is not there yet; the fault, under the pipe's mutex, is handled
by userfaultfd, 50 ms later. Meanwhile another thread reads from the pipe, and waits for the mutex.
"""

from __future__ import annotations

import json
import sys

import pytest

from support.cli import run
from support.needs import refused

pytestmark = pytest.mark.kernel
ROUNDS = 7
WORKLOAD = f"""
import ctypes, fcntl, json, mmap, os, struct, threading, time
libc = ctypes.CDLL(None, use_errno=True)
uffd = libc.syscall(323, 0)
assert uffd >= 0, ctypes.get_errno()
api = bytearray(struct.pack("QQQ", 0xAA, 0, 0))
fcntl.ioctl(uffd, 0xC018AA3F, api)                             # UFFDIO_API
rounds = {ROUNDS}
memory = mmap.mmap(-1, 4096 * rounds)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
register = bytearray(struct.pack("QQQQ", start, 4096 * rounds, 1, 0))
fcntl.ioctl(uffd, 0xC020AA00, register)                        # UFFDIO_REGISTER
read, write = os.pipe()
source = ctypes.create_string_buffer(4096)
waits = []
def ask():
    begun = time.monotonic_ns()
    os.read(read, 4096)
    waits.append(time.monotonic_ns() - begun)
for number in range(rounds):
    page = start + 4096 * number
    words = write, ctypes.c_void_p(page), ctypes.c_size_t(4096)
    writer = threading.Thread(target=libc.write, args=words)
    writer.start()
    os.read(uffd, 32)                                          # the fault, under the mutex
    reader = threading.Thread(target=ask)
    reader.start()
    while " D " not in open(f"/proc/self/task/{{reader.native_id}}/stat").read():
        time.sleep(0.001)
    time.sleep(0.05)
    copy = struct.pack("QQQQq", page, ctypes.addressof(source), 4096, 0, 0)
    fcntl.ioctl(uffd, 0xC028AA03, bytearray(copy))             # UFFDIO_COPY
    writer.join()
    reader.join()
os.write(2, json.dumps(waits).encode() + b"\\n")
"""


def rows(*words):
    result = run("klockstat", *words, "-f", "json", "--", sys.executable, "-c", WORKLOAD)
    assert result.status == 0, result.err
    return result.of("summary"), json.loads(result.err.splitlines()[0])


@pytest.mark.smoke
@pytest.mark.lab
def test_a_lock_that_is_held_for_50_ms_is_waited_for_as_long():
    if refused(run("klockstat", "--dry-run"), {"contention": "raw-tracepoint"}):
        return
    found, waits = rows("--by", "type,lock", "--min", "10ms")
    found = [row for row in found if any("pipe" in frame for frame in row["kernel"])]
    assert sum(row["waits"] for row in found) == len(waits) == ROUNDS
    assert {row["type"] for row in found} == {"mutex"}
    assert len({row["lock"] for row in found}) == 1
    # No longer than the reader itself measured, from before its call until it ran again.
    assert ROUNDS * 50_000_000 <= sum(row["total_ns"] for row in found) <= sum(waits)


def test_only_long_waits():
    found, _ = rows("--min", "10s")
    assert found == []
