"""Test tcpretrans against segments that the kernel drops at the socket they are for, and its count of
them."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from support.cli import wait_for
from support.connections import (
    V4,
    V6,
    connection_key,
    counters,
    dropping_segments,
    ends,
    own_process,
    pair,
    record_events,
    resetting,
    tcp_info,
)
from support.cpu_contention import UNSEEN
from support.packets import namespace

pytestmark = pytest.mark.kernel


def retransmitted(end, times):
    """Wait until a number of segments were retransmitted."""
    wait_for(lambda: tcp_info(end)["total_retrans"] >= times, "segments that are sent again")


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", [pytest.param("raw-tracepoint", marks=pytest.mark.smoke), "tracepoint"]
)
def test_shown_segments_equal_the_kernels_count(alternative):
    retransmits, reported = {}, {}
    with namespace(ipv6=True), record_events("tcpretrans", "--hook", f"retransmit={alternative}") as events:
        before = counters()["Tcp.RetransSegs"]
        for family, host in (V4, V6):
            client, server = pair(family, host)
            retransmits[connection_key(ends(client))] = client
            with dropping_segments(server):
                client.send(bytes(1009))
                retransmitted(client, 3)
            assert server.recv(2000) == bytes(1009)
            reported[connection_key(ends(client))] = tcp_info(client)["total_retrans"]
            resetting(client)
            server.close()
        after = counters()["Tcp.RetransSegs"]
    assert after - before == sum(reported.values())
    assert 0 <= after - before - sum(event["segments"] for event in events) <= UNSEEN
    for connection, times in reported.items():
        own_events = [event for event in events if connection_key(event) == connection]
        assert times >= 3
        assert 0 <= times - sum(event["segments"] for event in own_events) <= UNSEEN
        assert {(event["pid"], event["comm"]) for event in own_events} == {own_process()}
        assert {(event["bytes"], event["state"]) for event in own_events} == {(1009, "ESTABLISHED")}
        # A loss probe comes first, if the kernel has seen a round trip; timeouts follow.
        assert {event["type"] for event in own_events[1:]} == {"timeout"}
        assert own_events[0]["type"] in ("probe", "timeout")


def test_a_loss_reported_by_the_peer_is_retransmitted_fast():
    with namespace(), record_events("tcpretrans") as events:
        client, server = pair(*V4)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with dropping_segments(server, ord("D")):
            for first in b"DKKKKKKK":
                client.send(bytes([first]) * 101)
            retransmitted(client, 1)
        resetting(client)
        server.close()
    assert events[0]["type"] == "fast"
    assert (events[0]["bytes"], events[0]["pid"]) == (101, os.getpid())


@pytest.mark.lab
def test_retransmitted_handshakes():
    """A SYN without an answer; an answer that gets lost, which belongs to the listening process."""
    with namespace(), record_events("tcpretrans") as events:
        before = counters()["Tcp.RetransSegs"]
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            port = listener.getsockname()[1]
            client.setblocking(False)
            with dropping_segments(listener):
                assert client.connect_ex(listener.getsockname()) == errno.EINPROGRESS
                own_events = client.getsockname()[1]
                retransmitted(client, 1)
            client.close()
            with socket.socket() as client:
                client.setblocking(False)
                with dropping_segments(client):
                    assert client.connect_ex(listener.getsockname()) == errno.EINPROGRESS
                    wait_for(lambda: counters()["Tcp.RetransSegs"] - before >= 3, "answers sent again")
                resetting(client)
        after = counters()["Tcp.RetransSegs"]
    assert 0 <= after - before - sum(event["segments"] for event in events) <= UNSEEN
    first = [event for event in events if event["sport"] == own_events]
    assert [(e["type"], e["state"], e["dport"], e["pid"]) for e in first] == [
        ("SYN", "SYN_SENT", port, os.getpid())
    ] * len(first)
    answers = [event for event in events if event["type"] == "SYNACK"]
    assert answers
    assert {(event["sport"], event["pid"], event["saddr"]) for event in answers} == {
        (port, os.getpid(), "127.0.0.1")
    }


@pytest.mark.lab
@pytest.mark.parametrize(("sockets", "owner"), [("iterator", own_process), ("none", lambda: (None, None))])
def test_a_connection_older_than_the_trace(sockets, owner):
    """It belongs to the process that has it open when the trace begins, if the kernel reports that."""
    with namespace():
        client, server = pair(*V4)
        with (
            record_events("tcpretrans", "--hook", f"open_sockets={sockets}") as events,
            dropping_segments(server),
        ):
            client.send(b"x")
            retransmitted(client, 1)
        resetting(client)
        server.close()
    assert {(event["pid"], event["comm"]) for event in events} == {owner()}


def test_only_those_of_a_process_and_a_network():
    with namespace():
        for words, expected in (
            (["-p", os.getpid()], True),
            (["-p", os.getppid()], False),
            (["--net", "192.0.2.0/24"], False),
        ):
            with record_events("tcpretrans", *words) as events:
                client, server = pair(*V4)
                with dropping_segments(server):
                    client.send(b"x")
                    retransmitted(client, 1)
                resetting(client)
                server.close()
            assert bool(events) == expected
