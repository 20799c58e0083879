"""Test dbslower and dbstat against PostgreSQL, its own statistics and pgbench's count."""

from __future__ import annotations

import contextlib
import subprocess
from collections import Counter

import pytest
from bench import servers

from support.cli import run, start, stop

pytestmark = [pytest.mark.kernel, pytest.mark.xdist_group("postgresql")]  # one server for all
CLIENTS, TRANSACTIONS = 3, 23
# What pgbench asks once as it starts, on a connection of its own.
ASKED_ONCE = 2
# A transaction of the built-in script: BEGIN, UPDATE, SELECT, UPDATE, UPDATE, INSERT, END.
STATEMENTS = 7


@pytest.fixture(scope="module")
def server():
    """Start a server that counts what it executes, and the tables of pgbench."""
    with servers.postgresql(["shared_preload_libraries=pg_stat_statements"]) as server:
        servers.sql(server, "create extension pg_stat_statements")
        pgbench(server, "-i", "-q")
        yield server


def pgbench(server, *words):
    return servers.call(["pgbench", *servers.place(server), *words, "postgres"])


def fails(server, text):
    with contextlib.suppress(subprocess.CalledProcessError):
        servers.sql(server, text)
        raise AssertionError(f"{text} succeeds")


def trace(server, tracer, work, *words):
    """Trace the server and what it starts while ``work()`` runs; return the result."""
    tracing = start(tracer, "-f", "json", "--children", "-p", server.pid, *words)
    work()
    result = stop(tracing)
    assert result.status == 0, result.err
    assert result.of("loss") == []
    return result


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_each_statement_of_pgbench_is_one_query_in_every_protocol(server, protocol):
    servers.sql(server, "select pg_stat_statements_reset()")

    def work():
        pgbench(server, "-n", "-M", protocol, "-c", CLIENTS, "-t", TRANSACTIONS)

    [row] = trace(server, "dbstat", work).of("summary")
    transactions = CLIENTS * TRANSACTIONS
    assert (row["server"], row["queries"], row["failed"]) == (
        "postgresql",
        STATEMENTS * transactions + ASKED_ONCE,
        0,
    )
    # It counts BEGIN and END once if they are prepared.
    counted = "select sum(calls) from pg_stat_statements where query !~ '^(BEGIN|END)|pg_stat_statements'"
    assert int(servers.sql(server, counted)) == row["queries"] - 2 * transactions


def test_texts_are_those_of_the_client_and_of_prepared_statements(server):
    def work():
        pgbench(server, "-n", "-M", "prepared", "-c", 1, "-t", TRANSACTIONS, "-b", "select-only")
        servers.sql(server, "select 'simple'")

    events = trace(server, "dbslower", work, "--min", "0").of("event")
    counts = Counter(event["query"] for event in events)
    assert counts["SELECT abalance FROM pgbench_accounts WHERE aid = $1;"] == TRANSACTIONS
    assert counts["select 'simple'"] == 1
    assert len(events) == TRANSACTIONS + 1 + ASKED_ONCE
    assert {event["status"] for event in events} == {"ok"}


def test_what_fails_is_shown_as_failed(server):
    script = server.folder / "failing.sql"
    division = "select 1 / (abalance - abalance) from pgbench_accounts where aid = "
    script.write_text(f"{division}1 + :client_id::int;\n")

    def work():
        for _ in range(5):
            fails(server, "select 1/0")
        fails(server, "selec")
        for protocol in ("extended", "prepared"):
            with contextlib.suppress(subprocess.CalledProcessError):  # its client gives up after the first
                pgbench(server, "-n", "-M", protocol, "-t", 1, "-f", script)
        servers.sql(server, "select 23")

    events = trace(server, "dbslower", work, "--min", "0").of("event")
    counts = Counter((event["query"], event["status"]) for event in events)
    assert counts["select 1/0", "failed"] == 5
    assert counts["selec", "failed"] == 1
    assert counts[f"{division}1 + $1::int;", "failed"] == 2
    assert counts["select 23", "ok"] == 1
    assert sum(count for (_, status), count in counts.items() if status == "failed") == 8


def test_a_server_that_ends_in_the_middle_of_a_query_has_failed(server):
    def work():
        words = ["psql", "-X", "-q", *servers.place(server), "-c", "select pg_sleep(600)"]
        with subprocess.Popen(servers.as_user(words), stderr=subprocess.DEVNULL) as client:
            asked = "select pid from pg_stat_activity where query = 'select pg_sleep(600)'"
            while not (pid := servers.sql(server, asked)):
                pass
            servers.sql(server, f"select pg_terminate_backend({pid})")
            client.wait()

    events = trace(server, "dbslower", work, "--min", "0", "--failed").of("event")
    assert [event["query"] for event in events] == ["select pg_sleep(600)"]


def test_statements_within_others_are_not_counted_again(server):
    text = (
        "prepare p as insert into nested values (1); execute p; "
        "do $$begin execute 'execute p'; begin execute 'execute p(1/0)'; exception when others then "
        "end; end$$"
    )

    def work():
        servers.sql(server, "create table nested (a int)")
        servers.sql(server, text)

    events = trace(server, "dbslower", work, "--min", "0").of("event")
    assert Counter((event["query"], event["status"]) for event in events) == {
        ("create table nested (a int)", "ok"): 1,
        (text, "ok"): 1,
    }


def test_slow_ones_are_selected_and_processes_told_apart(server):
    def work():
        servers.sql(server, "select pg_sleep(0.2)")
        servers.sql(server, "select 1")

    [event] = trace(server, "dbslower", work, "--min", "150").of("event")
    assert event["query"] == "select pg_sleep(0.2)"
    assert event["latency_ns"] >= 200_000_000
    rows = trace(server, "dbstat", work, "--by", "pid").of("summary")
    assert [(row["comm"], row["queries"]) for row in rows] == [("postgres", 1)] * 2


def test_a_hostile_text_stays_text(server):
    text = "select 'a\x1b[31m\n\u20ac'"

    def work():
        servers.sql(server, text)

    [event] = trace(server, "dbslower", work, "--min", "0").of("event")
    assert event["query"] == text
    tracing = start("dbslower", "--min", "0", "--children", "-p", server.pid)
    work()
    assert "\x1b" not in stop(tracing).out


def test_the_time_between_two_probes_has_as_many_pairs(server):
    words = ("latency", "-f", "json", "usdt:postgresql:query__start", "usdt:postgresql:query__done")
    tracing = start(*words, "--children", "-p", server.pid)
    pgbench(server, "-n", "-t", TRANSACTIONS)
    [row] = stop(tracing).of("summary")
    assert row["pairs"] == STATEMENTS * TRANSACTIONS + ASKED_ONCE


def test_a_process_without_the_probes_is_refused(server):
    with subprocess.Popen(["sleep", "600"]) as other:
        result = run("dbstat", "-p", other.pid, "-d", "1")
        other.kill()
    assert result.status == 4
    assert "has no USDT probes" in result.err
