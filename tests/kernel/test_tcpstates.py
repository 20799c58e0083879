"""Test tcpstates against connections that the test makes, in a network namespace of the test's own."""

from __future__ import annotations

import errno
import itertools
import os
import socket

import pytest

from support.cli import run
from support.connections import (
    STATE_ALTERNATIVES,
    V4,
    V6,
    connection_key,
    counters,
    ends,
    pair,
    record_events,
    resetting,
)
from support.needs import was_refused
from support.packets import namespace

pytestmark = pytest.mark.kernel
CLIENT = ["CLOSE", "SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE"]
SERVER = ["LISTEN", "SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"]


def steps(states):
    """Return each state with the next."""
    return list(itertools.pairwise(states))


@pytest.mark.lab
@pytest.mark.parametrize("alternative", STATE_ALTERNATIVES)
def test_every_state_of_both_ends(alternative):
    """Ports and addresses of one end are those of the other, swapped."""
    hooks = ["--hook", f"tcp_state={alternative}"]
    if was_refused(run("tcpstates", "--dry-run", *hooks), {"tcp_state": alternative}):
        return
    with namespace(ipv6=True), record_events("tcpstates", *hooks) as events:
        before, connections = counters(), []
        for family, host in (V4, V6):
            for _ in range(23):
                client, server = pair(family, host)
                connections.append((connection_key(ends(client)), connection_key(ends(server))))
                client.close()
                assert server.recv(1) == b""
                server.close()
        after = counters()
    for client, server in connections:
        assert (client[:2], client[2:]) == (server[2:], server[:2])
        # Before it has a port, a socket that connects is at port 0.
        own_events = [event for event in events if connection_key(event) == client]
        assert [(e["old"], e["new"]) for e in own_events] == steps(CLIENT)[1:]
        assert {e["pid"] for e in own_events} == {os.getpid()}
        assert all(e["duration_ns"] > 0 for e in own_events)
        own_events = [
            event for event in events if connection_key(event) == server and event["old"] != "LISTEN"
        ]
        assert [(e["old"], e["new"]) for e in own_events] == steps(SERVER)[1:]
        assert {e["pid"] for e in own_events if e["old"] not in ("SYN_RECV",)} == {os.getpid()}
    changes = [(event["old"], event["new"]) for event in events]
    assert changes.count(("CLOSE", "SYN_SENT")) == after["Tcp.ActiveOpens"] - before["Tcp.ActiveOpens"] == 46
    open_count = changes.count(("SYN_RECV", "ESTABLISHED"))
    assert open_count == after["Tcp.PassiveOpens"] - before["Tcp.PassiveOpens"] == 46
    assert changes.count(("CLOSE", "LISTEN")) == changes.count(("LISTEN", "CLOSE")) == 46


def test_failed_and_reset_connections():
    with namespace(), record_events("tcpstates") as events:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            free = listener.getsockname()[1]
        before = counters()
        for _ in range(7):
            with socket.socket() as refused_client:
                assert refused_client.connect_ex(("127.0.0.1", free)) == errno.ECONNREFUSED
        failed = counters()["Tcp.AttemptFails"] - before["Tcp.AttemptFails"]
        client, server = pair(*V4)
        remote = connection_key(ends(client))
        resetting(server)
        client.close()
        reset = counters()["Tcp.EstabResets"] - before["Tcp.EstabResets"]
    changes = [(event["old"], event["new"]) for event in events]
    assert changes.count(("SYN_SENT", "CLOSE")) == failed == 7
    assert changes.count(("ESTABLISHED", "CLOSE")) == reset == 2
    assert [event["pid"] for event in events if connection_key(event) == remote] == [os.getpid()] * 2


def test_a_state_that_began_before_the_trace_has_no_duration():
    with namespace():
        client, server = pair(*V4)
        with record_events("tcpstates") as events:
            client.close()
            server.recv(1)
            server.close()
    assert [event["duration_ns"] is None for event in events] == [
        event["old"] == "ESTABLISHED" for event in events
    ]
    assert len(events) == 6


def test_only_states_that_lasted():
    with namespace(), record_events("tcpstates", "--min", "1000s") as events:
        for end in pair(*V4):
            end.close()
    assert not events
