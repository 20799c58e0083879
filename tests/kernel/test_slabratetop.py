"""Test slabratetop against a known number of objects, beside the kernel's own count (/proc/slabinfo)."""

from __future__ import annotations

import json
import sys

import pytest

from support.cli import run
from support.needs import was_refused

pytestmark = pytest.mark.kernel
OBJECTS = 1009
# Each descriptor that an epoll instance watches is an object of eventpoll_epi, whatever its file.
WORKLOAD = f"""
import fcntl, json, os, resource, select
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
def slab(name):
    for line in open("/proc/slabinfo"):
        words = line.split()
        if words[0] == name:
            return int(words[1])
read, write = os.pipe()
numbers = [os.dup(read) for _ in range({OBJECTS})]
poll = select.epoll()
before = slab("eventpoll_epi")
for number in numbers:
    poll.register(number, select.EPOLLIN)
after = slab("eventpoll_epi")
os.write(2, json.dumps([before, after]).encode())
"""


def rows(*words):
    result = run("slabratetop", *words, "-f", "json", "--", sys.executable, "-c", WORKLOAD)
    assert result.status == 0, result.err
    return result.of("summary"), json.loads(result.err)


@pytest.mark.smoke
@pytest.mark.lab
def test_each_object_is_counted_for_its_cache():
    actual, (before, after) = rows()
    if before is None:  # merged with caches of the same size, under the name of one of them
        assert max(row["allocations"] for row in actual) >= OBJECTS
        return
    [row] = [row for row in actual if row["cache"] == "eventpoll_epi"]
    assert row["allocations"] == OBJECTS
    assert row["bytes"] % OBJECTS == 0
    # The kernel counts whole slabs of each CPU as in use, in which there may have been room.
    assert after >= OBJECTS
    assert 0 < after - before <= OBJECTS + 512


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ["raw-tracepoint", "kprobe"])
def test_each_alternative(alternative):
    if was_refused(run("slabratetop", "--hook", f"slab={alternative}", "--", "true"), {"slab": alternative}):
        return
    actual, (before, _) = rows("--hook", f"slab={alternative}")
    counts = {row["cache"]: row["allocations"] for row in actual}
    if before is None:  # merged
        assert max(counts.values()) >= OBJECTS
    else:
        assert counts["eventpoll_epi"] == OBJECTS


def test_kmalloc_is_shown_by_size():
    actual, _ = rows("--by", "cache,comm")
    sizes = {row["cache"]: row for row in actual if row["cache"].startswith("kmalloc-")}
    assert sizes
    for name, row in sizes.items():
        text = name.removeprefix("kmalloc-")
        size = int(text.rstrip("kM")) * {"k": 1 << 10, "M": 1 << 20}.get(text[-1], 1)
        assert row["bytes"] == size * row["allocations"]


def test_allocations_are_counted_by_process():
    actual, _ = rows("--by", "pid,cache")
    [row] = [row for row in actual if row["cache"] == "eventpoll_epi"]
    assert (row["allocations"], row["comm"]) == (OBJECTS, "python")
