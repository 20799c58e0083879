"""Test tcplife against connections that the test makes, in a network namespace of the test's own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading

import pytest

from support.cli import run, start, stop, wait_for
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
    resetting,
)
from support.needs import was_refused
from support.packets import namespace

pytestmark = pytest.mark.kernel


def carry(source, target, size):
    """Send a number of bytes, and receive them all."""
    thread = threading.Thread(target=source.sendall, args=(bytes(size),))
    thread.start()
    while size:
        size -= len(target.recv(1 << 16))
    thread.join()


def established(address):
    """Return whether the kernel has such a connection."""
    stdout = subprocess.run(["ss", "-Htn"], check=True, capture_output=True, text=True).stdout
    return f"{address[0]}:{address[1]} " in stdout


@pytest.mark.lab
@pytest.mark.parametrize("alternative", STATE_ALTERNATIVES)
def test_each_connection_has_its_bytes_in_each_direction_and_its_process(alternative):
    hooks = ["--hook", f"tcp_state={alternative}"]
    if was_refused(run("tcplife", "--dry-run", *hooks), {"tcp_state": alternative}):
        return
    expected = {}
    with namespace(ipv6=True), record_events("tcplife", *hooks) as events:
        before = counters()
        for family, host in (V4, V6):
            for number in range(23):
                client, server = pair(family, host)
                remote, reply_size = number * 1009, number * 101 + 1
                carry(client, server, remote)
                carry(server, client, reply_size)
                expected[connection_key(ends(client))] = (*own_process(), remote, reply_size)
                expected[connection_key(ends(server))] = (*own_process(), reply_size, remote)
                first, second = (client, server) if number % 2 else (server, client)
                first.close()
                assert second.recv(1) == b""
                second.close()
        after = counters()
    actual = {connection_key(e): (e["pid"], e["comm"], e["tx_bytes"], e["rx_bytes"]) for e in events}
    assert actual == expected
    assert len(events) == 92
    assert all(event["duration_ns"] > 0 for event in events)
    for end in ("ActiveOpens", "PassiveOpens"):
        assert after[f"Tcp.{end}"] - before[f"Tcp.{end}"] == 46


def test_bytes_of_connections_that_are_reset_or_half_closed():
    with namespace(), record_events("tcplife") as events:
        client, server = pair(*V4)
        half = connection_key(ends(client)), connection_key(ends(server))
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        carry(server, client, 100_003)
        server.close()
        assert client.recv(1) == b""
        client.close()
        client, server = pair(*V4)
        reset = connection_key(ends(client)), connection_key(ends(server))
        carry(client, server, 1009)
        carry(server, client, 23)
        resetting(server)
        client.close()
    actual = {connection_key(e): (e["tx_bytes"], e["rx_bytes"]) for e in events}
    assert actual == {
        half[0]: (0, 100_003),
        half[1]: (100_003, 0),
        reset[0]: (1009, 23),
        reset[1]: (23, 1009),
    }


@pytest.mark.lab
def test_connections_older_than_the_trace():
    """They belong to the process that has them open when the trace begins, whichever task runs at the
    reset."""
    with namespace():
        closed, stored = pair(*V4), pair(*V4)
        for source, target in (closed, closed[::-1]):
            carry(source, target, 1009)
        own_connections = {connection_key(ends(end)): (*own_process(), 1009, 1009) for end in closed}
        reset, closers = connection_key(ends(stored[0])), connection_key(ends(stored[1]))
        with record_events("tcplife") as events:
            for end in closed:
                end.close()
            resetting(stored[1])
        stored[0].close()
    actual = {connection_key(e): (e["pid"], e["comm"], e["tx_bytes"], e["rx_bytes"]) for e in events}
    assert actual == own_connections | {reset: (*own_process(), 0, 0), closers: (*own_process(), 0, 0)}
    assert {event["duration_ns"] for event in events} == {None}


@pytest.mark.lab
def test_without_iterators_one_older_than_the_trace_belongs_to_who_closes_it():
    """If the other end resets it there is no owner, since some task just runs then."""
    with namespace():
        closed, stored = pair(*V4), pair(*V4)
        closers = [connection_key(ends(end)) for end in (*closed, stored[1])]
        with record_events("tcplife", "--hook", "open_sockets=none") as events:
            for end in closed:
                end.close()
            unowned = connection_key(ends(stored[0]))
            resetting(stored[1])
        stored[0].close()
    actual = {connection_key(event): (event["pid"], event["comm"]) for event in events}
    assert actual == dict.fromkeys(closers, own_process()) | {unowned: (None, None)}


@pytest.mark.lab
@pytest.mark.parametrize("words", [[], ["-p", "PID"]], ids=["all", "process"])
def test_the_owner_of_an_old_connection_need_not_do_anything(words):
    """Another process owns the connection, and sleeps while this one resets it."""
    with namespace():
        client, server = pair(*V4)
        connection = connection_key(ends(client))
        ready, start = os.pipe()
        child = os.fork()
        if not child:
            server.close()
            os.write(start, b"x")
            signal.pause()
        assert os.read(ready, 1) == b"x"
        client.close()
        with record_events("tcplife", *(str(child) if word == "PID" else word for word in words)) as events:
            resetting(server)
            wait_for(lambda: not established(connection), "the end of the connection")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in (ready, start):
            os.close(end)
    assert [event["pid"] for event in events if connection_key(event) == connection] == [child]


def test_late_packets_of_an_exited_process_name_no_other_process():
    """The acceptor has exited when its last data is acknowledged, and other tasks run."""
    with namespace(), record_events("tcplife") as events, socket.create_server(("127.0.0.1", 0)) as listener:
        children = []
        for _ in range(23):
            child = os.fork()
            if not child:
                end, _ = listener.accept()
                end.send(b"x" * 101)
                os._exit(0)
            children.append(child)
        clients = [socket.create_connection(listener.getsockname()) for _ in children]
        for child in children:
            os.waitpid(child, 0)
        for client in clients:
            while client.recv(101):
                pass
            client.close()
        port = listener.getsockname()[1]
    served = [event for event in events if event["sport"] == port]
    assert sorted(event["pid"] for event in served) == sorted(children)
    assert {event["tx_bytes"] for event in served} == {101}
    assert [event["pid"] for event in events if event["dport"] == port] == [os.getpid()] * 23


def test_unaccepted_connections_have_no_owner_and_failed_ones_are_not_shown():
    with namespace(), record_events("tcplife") as events:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            free = listener.getsockname()[1]
        client.close()
        with socket.socket() as refused_client:
            assert refused_client.connect_ex(("127.0.0.1", free))
    assert sorted((event["sport"] == free, event["pid"]) for event in events if event["pid"]) == [
        (False, os.getpid())
    ]
    assert [event["pid"] for event in events if event["sport"] == free] == [None]


def test_only_some_and_only_long_ones():
    with namespace(ipv6=True):
        for words, count in ((["--net", "::/0"], 2), (["--min", "1000s"], 0), (["-p", os.getpid()], 4)):
            with record_events("tcplife", *words) as events:
                for family, host in (V4, V6):
                    for end in pair(family, host):
                        end.close()
            assert len(events) == count


def test_another_network_namespace_is_not_shown():
    with namespace():
        tracer = start("tcplife", "-f", "json", "-d", 60, "--netns", "/proc/self/ns/net")
        with namespace():
            for end in pair(*V4):
                end.close()
        result = stop(tracer)
    assert not result.of("event")
