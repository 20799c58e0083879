"""Test dbslower and dbstat against MariaDB, its own statistics and the client's count."""

from __future__ import annotations

from collections import Counter

import pytest
from bench import servers

from pytracer.text import to_bytes
from support.cli import run, start, stop
from support.mariadb_client import Client

pytestmark = [pytest.mark.kernel, pytest.mark.xdist_group("mariadb")]  # one server for all


@pytest.fixture(scope="module")
def server():
    """Start a server with a table."""
    with servers.mariadb() as server:
        servers.mariadb_sql(server, "create database test; create table test.t (a int primary key)")
        yield server


@pytest.fixture
def client(server):
    """Connect to it."""
    client = Client(server.folder / "socket")
    yield client
    client.close()


def trace(server, tracer, work, *words):
    """Trace the server while ``work()`` runs; return the result, in which nothing is lost."""
    tracing = start(tracer, "-f", "json", "-p", server.pid, *words)
    work()
    result = stop(tracing)
    assert result.status == 0, result.err
    assert result.of("loss") == []
    return result


def status(server):
    """Return the server's own counters."""
    rows = servers.mariadb_sql(
        server, "show global status where Variable_name in ('Questions', 'Com_stmt_prepare')"
    )
    return {name: int(value) for name, value in (row.split("\t") for row in rows.splitlines())}


def test_queries_and_executions_are_shown_once_with_their_text(server, client):
    def work():
        for number in range(23):
            assert client.query(b"insert into test.t values (%d)" % number)
        statement = client.prepare(b"select a from test.t")
        for _ in range(17):
            assert client.execute(statement)
        again = client.prepare(b"insert into test.t values (3)")
        for _ in range(7):
            assert not client.execute(again)
        for _ in range(5):
            assert not client.query(b"selec")
        assert not client.prepare(b"prepared selec")

    before = status(server)
    events = trace(server, "dbslower", work, "--min", "0").of("event")
    after = status(server)
    counts = Counter((event["query"], event["status"]) for event in events)
    assert sum(counts[f"insert into test.t values ({number})", "ok"] for number in range(23)) == 23
    assert counts["select a from test.t", "ok"] == 17
    assert counts["insert into test.t values (3)", "failed"] == 7
    assert counts["selec", "failed"] == 5
    assert counts["prepared selec", "failed"] == 1
    assert len(events) == 53
    assert {event["server"] for event in events} == {"mariadb"}
    # It counts the second look at it, and that the client of the first one quits; not what is prepared.
    assert after["Questions"] - before["Questions"] - 2 == 52


def test_a_hostile_text_stays_text_and_a_long_one_is_counted_as_truncated(server, client):
    text = b"select '\x1b[31m\0\xff', '" + b"a" * 2000 + b"'"
    tracing = start("dbslower", "-f", "json", "--min", "0", "-p", server.pid)
    client.query(text)
    result = stop(tracing)
    assert [(loss["reason"], loss["lost"]) for loss in result.of("loss")] == [("truncated", 1)]
    [event] = result.of("event")
    assert to_bytes(event["query"]) == text[:1023]


def test_queries_and_failures_are_counted(server, client):
    def work():
        for _ in range(23):
            client.query(b"select 1")
        for _ in range(7):
            client.query(b"selec")

    rows = trace(server, "dbstat", work, "--by", "server,query").of("summary")
    assert {(row["server"], row["query"], row["queries"], row["failed"]) for row in rows} == {
        ("mariadb", "select 1", 23, 0),
        ("mariadb", "selec", 7, 7),
    }


def test_it_is_found_by_its_file_before_it_runs():
    result = run("dbslower", "--dry-run")
    assert result.status == 0, result.err
    assert "dispatch_command" in result.out
