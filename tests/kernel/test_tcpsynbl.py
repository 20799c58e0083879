"""Test tcpsynbl against listening sockets that accept nothing, and the kernel's own account of their
queues."""

from __future__ import annotations

import re
import socket
import struct
from pathlib import Path

import pytest

from support.cli import run, start, stop, wait_for
from support.connections import V4, V6, inode
from support.needs import was_refused
from support.packets import namespace

pytestmark = pytest.mark.kernel
HERE = ["--netns", "/proc/self/ns/net"]
BACKLOG = 5


def overflows():
    """Return TcpExtListenOverflows of this network namespace."""
    names, values = re.findall(r"^TcpExt: (.*)$", Path("/proc/thread-self/net/netstat").read_text(), re.M)[:2]
    return int(dict(zip(names.split(), values.split(), strict=True))["ListenOverflows"])


def queued(listener):
    """Return tcpi_unacked of a listening socket: the connections that wait to be accepted."""
    return struct.unpack_from("I", listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 24)[0]


def connected(listener):
    """Return a connection that waits to be accepted: the client may know before that it is established."""
    before = queued(listener)
    client = socket.socket(listener.family)
    client.connect(listener.getsockname()[:2])
    wait_for(lambda: queued(listener) == before + 1, "a connection in the queue")
    return client


def rows(tracer):
    result = stop(tracer)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result.of("summary")


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", [pytest.param("raw-tracepoint", marks=pytest.mark.smoke), "tracepoint"]
)
def test_each_connection_finds_those_before_it(alternative):
    hook = ["--hook", f"tcp_state={alternative}"]
    if was_refused(run("tcpsynbl", "--dry-run", *hook), {"tcp_state": alternative}):
        return
    expected = {}
    with namespace(ipv6=True):
        tracer = start("tcpsynbl", "-f", "json", *HERE, *hook, "--by", "local,netns", 60)
        for family, host in (V4, V6):
            with socket.create_server((host, 0), family=family, backlog=BACKLOG) as listener:
                actual, clients = [], []
                for _ in range(BACKLOG + 1):  # one more than the limit is let in
                    actual.append(queued(listener))
                    clients.append(connected(listener))
                for _ in range(3):
                    listener.accept()[0].close()
                actual.append(queued(listener))
                clients.append(connected(listener))
                assert actual == [0, 1, 2, 3, 4, 5, 3]
                listener_key = (host, listener.getsockname()[1], inode())
                expected[listener_key] = (
                    len(actual),
                    sum(actual),
                    sum(actual) // len(actual),
                    max(actual),
                    BACKLOG,
                )
                for client in clients:
                    client.close()
        actual = rows(tracer)
    names = ("connections", "waiting", "avg_waiting", "max_waiting", "backlog")
    assert {
        (row["saddr"], row["sport"], row["netns"]): tuple(row[n] for n in names) for row in actual
    } == expected


@pytest.mark.lab
def test_rejected_connections_are_counted_by_the_kernel():
    """The client believes such a connection to be established, but it is not, and appears in no row."""
    with namespace(), socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        tracer = start("tcpsynbl", "-f", "json", *HERE, 60)
        clients = [connected(listener) for _ in range(2)]
        before = overflows()
        third = socket.socket()
        third.settimeout(0.3)
        third.connect_ex(listener.getsockname())
        assert overflows() > before
        [row] = rows(tracer)
        for client in (*clients, third):
            client.close()
    assert (row["connections"], row["max_waiting"], row["backlog"]) == (2, 1, 1)


def test_histograms_and_other_namespaces():
    with namespace(), socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        tracer = start("tcpsynbl", "--histogram", "-f", "json", *HERE, 60)
        with namespace(), socket.create_server(("127.0.0.1", 0)) as other:
            connected(other).close()
        clients = [connected(listener) for _ in range(23)]
        [row] = rows(tracer)
        for client in clients:
            client.close()
    assert (row["connections"], row["waiting"], row["max_waiting"]) == (23, sum(range(23)), 22)
    assert sum(bucket["count"] for bucket in row["waiting_count"]) == 23
