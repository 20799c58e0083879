"""Test dbstat against SQLite; tests/databases has the servers."""

from __future__ import annotations

import sys

import pytest

from support.cli import run

pytestmark = pytest.mark.kernel
WORKLOAD = """
import os, sqlite3
base = sqlite3.connect(":memory:", isolation_level=None)
for _ in range(23):
    base.execute("select 1").fetchall()
for _ in range(7):
    try:
        base.execute("selec")
    except sqlite3.Error:
        pass
if os.fork():
    os.wait()
else:
    for _ in range(17):
        sqlite3.connect(":memory:").execute("select 1").fetchall()
"""


def rows(*words):
    result = run("dbstat", "-f", "json", *words, "--", sys.executable, "-c", WORKLOAD)
    assert result.status == 0, result.err
    assert result.of("loss") == []
    return result.of("summary")


@pytest.mark.smoke
@pytest.mark.lab
def test_queries_and_failures_are_counted_with_their_latency():
    [row] = rows()
    assert (row["server"], row["queries"], row["failed"]) == ("sqlite", 47, 7)
    assert sum(bucket["count"] for bucket in row["latency_ns"]) == 47
    assert 0 < row["avg_ns"] <= row["max_ns"] <= row["total_ns"]


def test_queries_are_told_apart_by_text_and_process():
    assert {(row["query"], row["queries"], row["failed"]) for row in rows("--by", "query")} == {
        ("select 1", 40, 0),
        ("selec", 7, 7),
    }
    assert sorted(row["queries"] for row in rows("--by", "pid")) == [17, 30]
