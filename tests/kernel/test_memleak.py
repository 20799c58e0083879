"""Test memleak against a program that leaks known blocks, beside what its own allocator says (mallinfo2)."""

from __future__ import annotations

import re

import pytest

from support.cli import run
from support.workloads import workload

pytestmark = pytest.mark.kernel
LEAKED = {  # by function: blocks, bytes
    "leak_malloc": (23, 23 * 1000),
    "leak_calloc": (17, 17 * 1000),
    "leak_aligned": (4 * 13, 13 * (1000 + 1024 + 1000 + 1000)),
    "leak_realloc": (11, 11 * 200000),
}


def leaked(*words, threads=0):
    result = run("memleak", *words, "-f", "json", "--", workload("leaks"), threads)
    assert result.status == 0, result.err
    rows = result.of("summary")
    actual = {}
    for name in (*LEAKED, "free_all", "race"):
        own_rows = [row for row in rows if any(frame.partition("+")[0] == name for frame in row["user"])]
        if own_rows:
            actual[name] = sum(row["blocks"] for row in own_rows), sum(row["bytes"] for row in own_rows)
    return actual, rows, result


@pytest.mark.smoke
@pytest.mark.lab
def test_leaked_blocks_are_shown_by_their_allocating_stack():
    actual, rows, result = leaked()
    assert actual == LEAKED
    assert not result.of("loss")
    # The allocator's own count, of blocks that are rounded up and have a heading, the largest of pages.
    in_use = int(re.search(r"^in use (\d+)$", result.err, re.M)[1])
    blocks, size = (sum(pair[part] for pair in LEAKED.values()) for part in (0, 1))
    assert size < in_use <= size + blocks * 4200
    assert all(row["blocks"] > 0 < row["bytes"] for row in rows)


def test_threads_that_reuse_addresses_leave_nothing():
    actual, _, result = leaked(threads=4)
    assert actual == LEAKED
    assert not result.of("loss")


def test_only_large_blocks():
    actual, _, _ = leaked("--min-size", "5000")
    assert actual == {"leak_realloc": LEAKED["leak_realloc"]}


def test_samples_are_weighted_by_their_rate():
    actual, _, _ = leaked("--sample", "3")
    assert all(blocks % 3 == 0 for blocks, _ in actual.values())
    assert "free_all" not in actual
    assert 0 < sum(blocks for blocks, _ in actual.values()) < 3 * sum(blocks for blocks, _ in LEAKED.values())


def test_events_that_do_not_fit_are_counted():
    _, _, result = leaked("--max-blocks", "64")
    assert sum(record["lost"] for record in result.of("loss")) > 0
