"""Test tcpconnlat against connections that the test makes, in a network namespace of the test's own."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from support.bpftool import entries
from support.cli import run, start, stop
from support.connections import (
    STATE_ALTERNATIVES,
    V4,
    V6,
    connection_key,
    counters,
    ends,
    own_process,
    pair,
    record_events,
)
from support.needs import was_refused
from support.packets import namespace

pytestmark = pytest.mark.kernel


@pytest.mark.lab
@pytest.mark.parametrize("alternative", STATE_ALTERNATIVES)
def test_each_connection_that_is_made_is_shown_once(alternative):
    hooks = ["--hook", f"tcp_state={alternative}"]
    if was_refused(run("tcpconnlat", "--dry-run", *hooks), {"tcp_state": alternative}):
        return
    connected = []
    with namespace(ipv6=True), record_events("tcpconnlat", *hooks) as events:
        before = counters()
        for family, host in (V4, V6):
            for _ in range(23):
                connection = pair(family, host)
                connected.append(connection_key(ends(connection[0])))
                for end in connection:
                    end.close()
        after = counters()
    assert [connection_key(event) for event in events] == connected
    assert {(event["pid"], event["comm"]) for event in events} == {own_process()}
    assert all(event["latency_ns"] > 0 for event in events)
    assert len(events) == after["Tcp.ActiveOpens"] - before["Tcp.ActiveOpens"]


def test_failed_or_abandoned_connections_leave_no_entries():
    with namespace():
        tracer = start("tcpconnlat", "-f", "json", "-d", 60, "--netns", "/proc/self/ns/net")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            free = listener.getsockname()[1]
        for _ in range(101):
            with socket.socket() as unused:
                assert unused.connect_ex(("127.0.0.1", free)) == errno.ECONNREFUSED
        for _ in range(23):
            with socket.socket() as unused:
                unused.setblocking(False)
                unused.connect_ex(("127.0.0.1", free))
        assert entries(tracer.pid, "connections") == 0
        connection = pair(*V4)
        assert entries(tracer.pid, "connections") == 2
        for end in connection:
            end.close()
        assert entries(tracer.pid, "connections") == 0
        result = stop(tracer)
    assert len(result.of("event")) == 1


def test_min_shows_slow_connections_of_one_process():
    with namespace():
        for words, count in ((["--min", "1000s"], 0), (["-p", os.getpid()], 1), (["--comm", "nobody"], 0)):
            with record_events("tcpconnlat", *words) as events:
                for end in pair(*V4):
                    end.close()
            assert len(events) == count
