"""Test dbslower against SQLite; tests/databases has the servers."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from pytracer.text import to_bytes
from support.cli import run, start, stop
from support.stream import events as traced

pytestmark = pytest.mark.kernel
# What SQLite asks its own tables for is no query of the program's.
OWN = ("SELECT*FROM", "SELECT sql, rootpage", "CREATE TABLE x(")
WORKLOAD = """
import sqlite3
base = sqlite3.connect(":memory:", isolation_level=None)
base.execute("create table t(a integer primary key)")
for number in range(23):
    base.execute("insert into t values (?)", (number,))
for _ in range(17):
    base.execute("select a from t").fetchall()
for _ in range(13):
    base.execute("select a from t where a > 3").fetchone()
for text in ["insert into t values (5)"] * 7 + ["selec a"] * 5:
    try:
        base.execute(text)
    except sqlite3.Error:
        pass
base.executescript("select 1; select 2;")
"""
SLOW = """
import sqlite3
base = sqlite3.connect(":memory:")
for rows in (1, 1, 1, 3000000):
    list(base.execute(f"with recursive n(a) as (select 1 union all select a + 1 from n where a < {rows}) "
                      "select count(*) from n"))
"""


def queries(*words):
    """Return the events of the program's own queries, of a run in which nothing is lost."""
    return [event for event in traced("dbslower", *words) if not (event["query"] or "").startswith(OWN)]


@pytest.mark.smoke
@pytest.mark.lab
def test_each_query_of_sqlite_is_shown_once_with_its_text_and_how_it_ended():
    events = queries("--min", "0", "--", sys.executable, "-c", WORKLOAD)
    assert Counter((event["query"].strip(), event["status"]) for event in events) == {
        ("create table t(a integer primary key)", "ok"): 1,
        ("insert into t values (?)", "ok"): 23,
        ("select a from t", "ok"): 17,
        ("select a from t where a > 3", "ok"): 13,
        ("insert into t values (5)", "failed"): 7,
        ("selec a", "failed"): 5,
        ("select 1;", "ok"): 1,
        ("select 2;", "ok"): 1,
    }
    assert {event["server"] for event in events} == {"sqlite"}
    assert len({event["pid"] for event in events}) == 1


def test_slow_and_failed_ones_can_be_selected():
    [event] = queries("--min", "100", "--", sys.executable, "-c", SLOW)
    assert "3000000" in event["query"]
    assert event["latency_ns"] >= 100_000_000
    events = queries("--min", "0", "--failed", "--", sys.executable, "-c", WORKLOAD)
    assert Counter(event["query"] for event in events) == {"insert into t values (5)": 7, "selec a": 5}


def test_a_hostile_text_stays_text_and_a_long_one_is_counted_as_truncated():
    text = "select '\x1b[31m\n\u20ac', " + "1" * 2000
    result = run(
        "dbslower", "-m", "0", "-f", "json", "--", sys.executable, "-c",
        f"import sqlite3\nsqlite3.connect(':memory:').execute({text!r}).fetchall()",
    )  # fmt: skip
    assert [(loss["reason"], loss["lost"]) for loss in result.of("loss")] == [("truncated", 1)]
    [event] = result.of("event")
    assert to_bytes(event["query"]) == text.encode()[:1023]
    assert event["status"] == "ok"
    table = run("dbslower", "-m", "0", "--", sys.executable, "-c", WORKLOAD.replace("selec a", "se\x1b[31m"))
    assert "\x1b" not in table.out


def test_a_statement_that_was_prepared_before_the_trace_has_no_text():
    code = """
import sqlite3, sys
base = sqlite3.connect(":memory:")
base.execute("select 23").fetchall()
print(flush=True)
sys.stdin.readline()
for _ in range(11):
    base.execute("select 23").fetchall()
print(flush=True)
sys.stdin.readline()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        trace = start("dbslower", "--min", "0", "-f", "json", "-p", process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        result = stop(trace)
        process.stdin.write("\n")
    assert result.of("loss") == []
    assert [(event["query"], event["status"]) for event in result.of("event")] == [(None, "ok")] * 11


def test_a_program_without_a_database_is_refused_with_the_reason():
    with subprocess.Popen(["sleep", "600"]) as process:
        result = run("dbslower", "-p", process.pid, "-d", "1")
        process.kill()
    assert result.status == 4
    assert "nothing to trace" in result.err
    assert "--enable-dtrace" in result.err


def test_what_a_named_function_does_must_be_known():
    result = run("dbslower", "u:libsqlite3:sqlite3_close", "-d", "1")
    assert result.status == 2
    assert "what that function does is not known" in result.err
