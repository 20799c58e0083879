"""Test tcptracer against connections that the test makes, in network namespaces of the test's own."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pytracer.cli import tracer_parser
from pytracer.features.kernel_facts import RunningKernel
from pytracer.model import Batch, Loss
from pytracer.spec import registry
from pytracer.spec.tcp import TCP_ACCEPT, TCP_STATE
from pytracer.trace.loop import TraceLoop
from support.cli import run, start, stop, wait_for
from support.connections import V4, V6, ends, inode, pair, resetting
from support.packets import ip, namespace, veth
from support.workloads import workload

pytestmark = pytest.mark.kernel
HERE = "/proc/self/ns/net"  # the tracer is started in the namespace it looks at


@contextlib.contextmanager
def record_events(*words, netns=(HERE,), lossy=False):
    """Yield the events of the block in the namespace, as a list that is filled at the end."""
    filters = [word for namespace_path in netns for word in ("--netns", namespace_path)]
    tracer = start("tcptracer", "-f", "json", "-d", 60, *filters, *words)
    events: list[dict] = []
    try:
        yield events
    finally:
        result = stop(tracer)
    assert result.status == 0, result.err
    assert lossy or not result.of("loss")
    events += result.records if lossy else result.of("event")


def me(**fields):
    """Return the columns that tell who and where."""
    comm, netns = Path("/proc/self/comm").read_text().rstrip("\n"), inode()
    return {"kind": "event", "pid": os.getpid(), "comm": comm, "netns": netns, "errno": ""} | fields


def lasted(events):
    """Return the events without their durations, which must make sense."""
    for event in events:
        assert (event.pop("duration_ns") > 0) == (event["type"] != "accept"), event
        for name in ("tx_bytes", "rx_bytes"):
            assert (event.pop(name) is None) == (event["type"] != "close"), event
    return events


def alternatives():
    """Return pairs of alternatives of the two hooks, in which each alternative occurs."""
    states, accepts = (
        [alternative.name for alternative in hook.alternatives] for hook in (TCP_STATE, TCP_ACCEPT)
    )
    return [
        *((state, state if state in accepts else accepts[0]) for state in states),
        (states[0], "call-tracepoints"),
    ]


@pytest.mark.lab
@pytest.mark.parametrize("alternative", alternatives(), ids="-".join)
def test_every_alternative_shows_each_connection_once_and_in_order(alternative):
    hooks = ["--hook", f"tcp_state={alternative[0]}", "--hook", f"tcp_accept={alternative[1]}"]
    planned = run("tcptracer", "--dry-run", *hooks)
    if "kprobe" in alternative and planned.status == 4:
        assert "no kprobes" in planned.err
        return
    expected = []
    with namespace(ipv6=True), record_events(*hooks) as events:
        for family, host in (V4, V6):
            for _ in range(23):
                client, server = pair(family, host)
                remote, local = ends(client), ends(server)
                client.close()
                server.close()
                expected += [
                    me(type="connect", **remote),
                    me(type="accept", **local),
                    me(type="close", **remote),
                    me(type="close", **local),
                ]
            with socket.create_server((host, 0), family=family) as listener:
                free = listener.getsockname()[1]
            for _ in range(7):
                with socket.socket(family) as refused_client:
                    refused_client.bind((host, 0))
                    local = {
                        "saddr": host,
                        "sport": refused_client.getsockname()[1],
                        "daddr": host,
                        "dport": free,
                    }
                    assert refused_client.connect_ex((host, free)) == errno.ECONNREFUSED
                expected.append(me(type="fail", **local) | {"errno": "ECONNREFUSED"})
    assert lasted(events) == expected


FIRST, SECOND = "127.0.0.1", "127.0.0.2"  # who connects to either on the loopback does it from the first


@pytest.mark.lab
@pytest.mark.parametrize(
    ("peer_filter", "connected", "accepted"),
    [
        ("127.0.0.0/8", {FIRST: 23, SECOND: 23}, {FIRST: 46}),
        (SECOND, {SECOND: 23}, {}),
        ("::/0", {"::1": 23}, {"::1": 23}),
        (f"!{SECOND},192.0.2.0/24", {FIRST: 23, "::1": 23}, {FIRST: 46, "::1": 23}),
        ("::/0,0.0.0.0/0", {FIRST: 23, SECOND: 23, "::1": 23}, {FIRST: 46, "::1": 23}),
        ("192.0.2.0/24", {}, {}),
    ],
)
def test_only_where_the_other_end_is(peer_filter, connected, accepted):
    with namespace(ipv6=True), record_events("--net", peer_filter) as events:
        for family, host in (V4, V6, (socket.AF_INET, SECOND)):
            for _ in range(23):
                for end in pair(family, host):
                    end.close()
    peers = {kind: Counter(e["daddr"] for e in events if e["type"] == kind) for kind in ("connect", "accept")}
    assert peers == {"connect": connected, "accept": accepted}
    assert Counter(e["daddr"] for e in events if e["type"] == "close") == Counter(connected) + Counter(
        accepted
    )


@pytest.mark.lab
def test_forked_acceptors_own_their_connections_until_they_exit():
    children = []
    with namespace(), record_events() as events, socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(23):
            child = os.fork()
            if not child:
                # One accepts and ends: nothing but its end closes what it has accepted.
                listener.accept()[0].recv(1)
                os._exit(0)
            children.append(child)
        clients = [socket.create_connection(listener.getsockname()) for _ in children]
        for client in clients:
            client.send(b"x")
        for child in children:
            os.waitpid(child, 0)
        port = listener.getsockname()[1]
        netns = inode()
        for client in clients:
            client.close()
    served = [event for event in events if event["sport"] == port]
    for kind in ("accept", "close"):
        assert Counter(e["pid"] for e in served if e["type"] == kind) == dict.fromkeys(children, 1)
    for pid in children:
        accept, close = (e for e in served if e["pid"] == pid)
        of_close = {name: close[name] for name in ("duration_ns", "tx_bytes", "rx_bytes")}
        assert {**accept, "type": "close", **of_close} == close
    assert {event["netns"] for event in events} == {netns}
    own_counts = Counter(e["type"] for e in events if e["pid"] == os.getpid())
    assert own_counts == {"connect": 23, "close": 23}


def test_mapped_addresses_are_shown_as_ipv4():
    with namespace(ipv6=True), record_events() as events, socket.socket(socket.AF_INET6) as client:
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
            client.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
            listener.accept()[0].close()
        client.close()
    assert [event["type"] for event in events] == ["connect", "accept", "close", "close"]
    assert {event[end] for event in events for end in ("saddr", "daddr")} == {"127.0.0.1"}


def test_accept_by_other_calls():
    libc = ctypes.CDLL(None, use_errno=True)
    with namespace(), record_events("-e", "accept") as events:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            assert libc.accept(listener.fileno(), None, None) == -1  # shows nothing
            with socket.create_connection(listener.getsockname()):
                os.close(libc.accept(listener.fileno(), None, None))
            with socket.create_connection(listener.getsockname()):
                os.close(libc.accept4(listener.fileno(), None, None, socket.SOCK_NONBLOCK))
            assert libc.accept(listener.fileno(), None, None) == -1
        local = socket.socketpair()
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            listener.bind(f"\0pytracer-{os.getpid()}")
            listener.listen()
            client.connect(listener.getsockname())
            listener.accept()[0].close()
        for end in local:
            end.close()
    assert [event["type"] for event in events] == ["accept"] * 2


def test_accept_by_32_bit_calls():
    # Those by int 0x80 of a 64-bit program, which no trace event of a single call shows.
    with namespace(), record_events("--hook", "tcp_accept=raw-tracepoint") as events:
        process = subprocess.Popen([workload("accept32"), "7"])
        assert process.wait(timeout=60) == 0
    assert {event["pid"] for event in events} == {process.pid}
    assert {event["comm"] for event in events} == {"accept32"}
    assert Counter(event["type"] for event in events) == {"connect": 21, "accept": 21, "close": 42}


def test_two_namespaces_are_distinguished():
    def connections(count):
        for _ in range(count):
            for end in pair(*V4):
                end.close()
        return inode()

    with contextlib.ExitStack() as stack:
        stack.enter_context(namespace())
        first = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        stack.callback(os.close, first)
        with namespace():
            path = f"/proc/{os.getpid()}/fd/{first}"
            events_of_both = stack.enter_context(record_events(netns=(HERE, path)))
            only = stack.enter_context(record_events(netns=(path,)))
            inner_connections = connections(23)
        outer = connections(7)
    assert Counter(event["netns"] for event in events_of_both) == {inner_connections: 4 * 23, outer: 4 * 7}
    assert Counter(event["netns"] for event in only) == {outer: 4 * 7}


def test_a_connection_older_than_the_trace_belongs_to_the_closing_process():
    with namespace():
        closed, shut, halves, reset, stored = (pair(*V4) for _ in range(5))
        expected = [ends(closed[0]), ends(closed[1]), ends(shut[0]), ends(shut[1])]
        expected += [ends(halves[1]), ends(halves[0]), ends(reset[0]), ends(reset[1])]
        with record_events() as events:
            for end in closed:
                end.close()
            for end in shut:
                end.shutdown(socket.SHUT_RDWR)
            for end in shut:
                end.close()  # closed already
            halves[0].shutdown(socket.SHUT_WR)  # can still receive
            assert halves[1].recv(1) == b""
            halves[1].close()
            halves[0].close()
            resetting(reset[0])
            reset[1].close()
        unknown = {"pid": 0, "comm": ""}
        for end in stored:
            end.close()
        nothing = {"duration_ns": 0, "tx_bytes": 0, "rx_bytes": 0}
        selected = [me(type="close", **end) | nothing for end in expected]
    selected[-1] |= unknown  # the other end's doing
    assert events == selected


def test_a_half_closed_connection_is_open():
    with namespace(), record_events("-e", "!connect,accept") as events:
        client, server = pair(*V4)
        remote, local = ends(client), ends(server)
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        server.send(b"still")
        assert client.recv(5) == b"still"
        server.close()
        client.close()
        expected = [me(type="close", **local), me(type="close", **remote)]
    assert lasted(events) == expected


def test_connections_that_were_not_accepted_are_not_shown():
    with namespace(), record_events() as events:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            remote = ends(client)
        client.close()
        expected = [me(type="connect", **remote), me(type="close", **remote)]
    assert lasted(events) == expected


def test_a_connect_that_is_given_up_fails_without_an_error():
    with (
        namespace(),
        record_events() as events,
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
    ):
        full, late = socket.create_connection(listener.getsockname()), socket.socket()
        late.setblocking(False)
        assert late.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        late.close()
        full.close()
    assert [(e["type"], e["errno"]) for e in events] == [("connect", ""), ("fail", ""), ("close", "")]


def test_an_unreachable_host_fails_with_its_error():
    with namespace(), record_events("-e", "fail") as events:
        veth("va", "vb")  # at whose other end nobody answers
        ip("address", "add", "192.0.2.1/24", "dev", "va")
        with socket.socket() as refused_client:
            refused_client.setsockopt(socket.IPPROTO_TCP, 18, 100)  # TCP_USER_TIMEOUT, ms
            error = refused_client.connect_ex(("192.0.2.2", 80))
    assert error in (errno.EHOSTUNREACH, errno.ETIMEDOUT)
    assert [event["errno"] for event in events] == [errno.errorcode[error]]
    assert [(event["saddr"], event["daddr"]) for event in events] == [("192.0.2.1", "192.0.2.2")]


SCRIPT = """
import ctypes, os, socket
ctypes.CDLL(None).prctl(15, {name!r}, 0, 0, 0)
listener = socket.create_server(("127.0.0.1", 0))
for _ in range({count}):
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    client.close()
    server.close()
"""


def script(count, name=b"worker"):
    return [sys.executable, "-c", SCRIPT.format(count=count, name=name)]


def test_a_command_and_its_children():
    with namespace():
        other_process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=-1)
        shell = ["sh", "-c", '"$@" & "$@" & wait', "sh", *script(23)]
        result = run("tcptracer", "-f", "json", "--", *shell)
        other_process.communicate()
    assert result.status == 0, result.err
    events = result.of("event")
    assert len({event["pid"] for event in events}) == 2
    assert Counter(event["type"] for event in events) == {"connect": 46, "accept": 46, "close": 92}
    assert {event["comm"] for event in events} == {"worker"}
    assert not result.of("loss")


def test_filters():
    with namespace():
        own_filters = (
            ["-p", os.getpid()],
            ["--tid", os.getpid()],
            ["--comm", me()["comm"]],
            ["-u", os.getuid()],
        )
        with contextlib.ExitStack() as stack:
            same = [stack.enter_context(record_events(*words)) for words in own_filters]
            worker = stack.enter_context(record_events("--comm", "worker", "--mntns", "/proc/self/ns/mnt"))
            unmatched = stack.enter_context(record_events("-u", 65534))
            subprocess.run(script(7), check=True)
            client, server = pair(*V4)
            expected = [(kind, os.getpid()) for kind in ("connect", "accept", "close", "close")]
            client.close()
            server.close()
    for events in same[:3]:
        assert [(event["type"], event["pid"]) for event in events] == expected
    assert len(same[3]) == 4 * 8
    assert len(worker) == 4 * 7
    assert unmatched == []


def test_hostile_names():
    name = b"a\"\x1b[2J\xff'\\"
    with namespace(), record_events() as events:
        subprocess.run(script(1, name), check=True)
    assert {event["comm"] for event in events} == {"a\"\x1b[2J\\xff'\\\\"}
    with namespace():
        table = run("tcptracer", "--wide", "--", *script(1, name))
    assert table.out.splitlines()[0].split() == [
        *("TYPE", "PID", "COMM", "SADDR", "SPORT", "DADDR", "DPORT", "NETNS", "DURATION", "ERRNO"),
        *("TX", "RX"),
    ]
    assert "\x1b" not in table.out
    assert len(table.out.splitlines()) == 5


def test_events_that_do_not_fit_into_the_ring_are_counted():
    with namespace(), record_events("--buffer", "4k", lossy=True) as records:
        for _ in range(1009):
            for end in pair(*V4):
                end.close()
    lost = sum(record["lost"] for record in records if record["kind"] == "loss")
    assert {record["reason"] for record in records if record["kind"] == "loss"} <= {"ring_full"}
    assert sum(record["kind"] == "event" for record in records) + lost == 4 * 1009


class NoRingBuffer(RunningKernel):
    def has_map_type(self, number):
        return False


@pytest.mark.filterwarnings("ignore:not a bytes object")  # BCC's own doing
def test_perf_rings():
    request, _ = tracer_parser.parse(registry.get("tcptracer"), ["-p", str(os.getpid())])
    with namespace(), TraceLoop(request, NoRingBuffer) as trace:
        assert "PT_HAS_RINGBUF" not in dict(trace.plan.defines)
        expected = []
        for _ in range(101):
            client, server = pair(*V4)
            remote, local = ends(client), ends(server)
            client.close()
            server.close()
            expected += [("connect", remote), ("accept", local), ("close", remote), ("close", local)]
        trace.stop()
        rows = [row for item in trace if isinstance(item, Batch) for row in item.rows()]
    assert trace.lost == 0
    assert [(row["type"], {name: row[name] for name in remote}) for row in rows] == expected


@pytest.mark.filterwarnings("ignore:not a bytes object")
def test_connections_that_do_not_fit_are_counted_and_still_seen_to_close():
    request, _ = tracer_parser.parse(registry.get("tcptracer"), ["-p", str(os.getpid())])
    with namespace(), TraceLoop(request, RunningKernel) as trace:
        connections = trace.session.loaded.module.maps["connections"]
        for number in range(65536):  # all that fit; no socket is at such an address
            connections.update(struct.pack("Q", number), bytes(connections.value.itemsize))
        for end in pair(*V4):
            end.close()
        trace.stop()
        items = list(trace)
    rows = [row for item in items if isinstance(item, Batch) for row in item.rows()]
    assert [(row["type"], row["pid"]) for row in rows] == [
        (k, os.getpid()) for k in ("accept", "close", "close")
    ]
    assert [(item.reason, item.lost) for item in items if isinstance(item, Loss)] == [("inflight_full", 2)]


def test_unknown_types_are_refused_with_those_there_are():
    result = run("tcptracer", "-e", "connect,open")
    assert result.status == 2
    assert "'open' is none of them" in result.err
    assert "there are: connect, accept, close, fail" in result.err


def test_a_reset_after_the_trace_began_has_its_owner():
    with namespace(), record_events() as events:
        client, server = pair(*V4)
        remote, local = ends(client), ends(server)
        resetting(client)
        wait_for(lambda: server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "the reset")
        server.close()
        expected = [me(type="close", **remote), me(type="close", **local)]
    assert lasted(events[2:]) == expected


def carry(family, host, count):
    """Send 1000 times ``count`` bytes, receive ``count`` back, and close. Returns the server's port."""
    client, server = pair(family, host)
    with client, server:
        client.sendall(bytes(1000 * count))
        left = 1000 * count
        while left:
            left -= len(server.recv(1 << 20))
        server.sendall(bytes(count))
        client.recv(count, socket.MSG_WAITALL)
        return server.getsockname()[1]


@pytest.mark.lab
def test_closed_connections_have_the_bytes_that_they_carried():
    with namespace(), record_events("-e", "close") as events:
        port = carry(*V4, 23)
    carried = {event["dport"] == port: (event["tx_bytes"], event["rx_bytes"]) for event in events}
    assert carried == {True: (23000, 23), False: (23, 23000)}


def test_connections_of_one_port_are_counted_by_their_other_end():
    with namespace():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            tracer = start("tcptracer", "--count", "--port", port, "-f", "json", "-d", 60, "--netns", HERE)
            carry(*V4, 5)  # at another port
            for _ in range(7):
                with socket.create_connection(("127.0.0.1", port)) as client:
                    server, _ = listener.accept()
                    client.sendall(bytes(11))
                    server.recv(11, socket.MSG_WAITALL)
                server.close()
        for _ in range(3):
            with socket.socket() as client:
                assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
        result = stop(tracer)
    assert result.status == 0, result.err
    [row] = [row for row in result.of("summary") if row["dport"] == port]
    counts = ("connects", "accepts", "closes", "fails", "tx_bytes", "rx_bytes")
    assert [row[name] for name in counts] == [7, 0, 7, 3, 77, 0]
    others = [row for row in result.of("summary") if row["dport"] != port]
    assert [sum(row[name] for row in others) for name in counts] == [0, 7, 7, 0, 0, 77]


def test_keys_are_for_counts():
    result = run("tcptracer", "--by", "pid")
    assert result.status == 2
    assert "--by is for rows, with --count" in result.err
