"""Test dropsnoop against packets of the test's own that the kernel drops, and counts, for a known reason."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pytracer.kernel.btf import Btf, BtfKind
from support.cli import run, start, stop
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
)
from support.needs import was_refused
from support.packets import Frame, ip, namespace, send, veth

pytestmark = pytest.mark.kernel
FORMS = ["raw-tracepoint-socket", "raw-tracepoint-reason", "raw-tracepoint"]

# The function that finds no socket; Linux 7.2 has it inlined into its caller.
UDP4 = ("__udp4_lib_rcv", "udp_rcv")
UDP6 = ("__udp6_lib_rcv", "udpv6_rcv")


def reason(name, form=""):
    """Return a reason, if this kernel tells reasons."""
    return name if form != FORMS[-1] and Btf.load().find(BtfKind.ENUM, "skb_drop_reason") else None


def counters6():
    """Return the kernel's counts for IPv6 in the namespace that the test is in."""
    lines = Path("/proc/thread-self/net/snmp6").read_text().splitlines()
    return {name: int(count) for name, count in (line.split() for line in lines)}


def to_nobody(family, host, times):
    """Send datagrams to a port that no one listens at."""
    with socket.socket(family, socket.SOCK_DGRAM) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.bind((host, 0))
        for _ in range(times):
            sender.sendto(bytes(101), (host, port))
        return {"saddr": host, "sport": sender.getsockname()[1], "daddr": host, "dport": port}


@pytest.mark.lab
@pytest.mark.parametrize("form", [*FORMS[:2], pytest.param(FORMS[2], marks=pytest.mark.smoke)])
def test_datagrams_to_no_one_are_shown_each_and_counted_by_the_kernel(form):
    hook = ["--hook", f"drop={form}"]
    if was_refused(run("dropsnoop", "--dry-run", *hook), {"drop": form}):
        return
    with namespace(ipv6=True), record_events("dropsnoop", *hook) as events:
        before = counters()["Udp.NoPorts"], counters6()["Udp6NoPorts"]
        four = to_nobody(socket.AF_INET, "127.0.0.1", 101)
        six = to_nobody(socket.AF_INET6, "::1", 23)
        after = counters()["Udp.NoPorts"], counters6()["Udp6NoPorts"]
    for ends_, times, functions, size in ((four, 101, UDP4, 109), (six, 23, UDP6, 109)):
        own_events = [event for event in events if connection_key(event) == tuple(ends_.values())]
        assert len(own_events) == times
        assert {event["reason"] for event in own_events} == {reason("NO_SOCKET", form)}
        assert {event["function"].split(".")[0] for event in own_events} in ({name} for name in functions)
        assert {(e["protocol"], e["bytes"], e["interface"], e["pid"]) for e in own_events} == {
            ("UDP", size, "lo", None)
        }
    assert (after[0] - before[0], after[1] - before[1]) == (101, 23)


@pytest.mark.lab
def test_a_segment_belongs_to_its_socket_not_to_who_sends_meanwhile():
    """The segment is dropped within the sender's system call, as both ends are on one machine."""
    with namespace(), record_events("dropsnoop") as events:
        client, server = pair(*V4)
        connection = connection_key(ends(client))
        with dropping_segments(server):
            child = os.fork()
            if not child:
                client.send(bytes(1009))
                os._exit(0)
            os.waitpid(child, 0)
        server.recv(2000)
        for end in (client, server):
            end.close()
    own_events = [
        event for event in events if connection_key(event) == connection and event["reason"] != "QUEUE_PURGE"
    ]
    assert own_events
    assert {event["reason"] for event in own_events} == {reason("SOCKET_FILTER")}
    is_supported = run("dropsnoop", "--dry-run", "--hook", f"drop={FORMS[0]}").status == 0
    assert {event["pid"] for event in own_events} == {os.getpid() if is_supported else None}


def receiving(family, host):
    """Return a socket of datagrams with room for few."""
    receiver = socket.socket(family, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    receiver.bind((host, 0))
    return receiver


@pytest.mark.lab
@pytest.mark.parametrize("is_older", [False, True])
@pytest.mark.parametrize(("family", "host"), [V4, V6])
def test_a_full_receive_buffer_is_of_who_has_the_socket(family, host, is_older):
    """Datagrams are dropped in the system calls of another process, the sender."""
    errors = "Udp.RcvbufErrors" if family == socket.AF_INET else "Udp6RcvbufErrors"
    with namespace(ipv6=True), contextlib.ExitStack() as stack:
        older = stack.enter_context(receiving(family, host)) if is_older else None
        events = stack.enter_context(record_events("dropsnoop"))
        receiver = older or stack.enter_context(receiving(family, host))
        child = os.fork()
        if not child:
            sender = socket.socket(family, socket.SOCK_DGRAM)
            for _ in range(101):
                sender.sendto(bytes(1009), receiver.getsockname())
            os._exit(0)
        os.waitpid(child, 0)
        dropped = (counters() | counters6())[errors]
        port = receiver.getsockname()[1]
    full = [e for e in events if e["dport"] == port and e["reason"] in (reason("SOCKET_RCVBUFF"), None)]
    assert len(full) == dropped > 50
    is_supported = run("dropsnoop", "--dry-run", "--hook", f"drop={FORMS[0]}").status == 0
    assert {(event["pid"], event["comm"]) for event in full} == {
        own_process() if is_supported else (None, None)
    }


def test_only_of_the_process_that_has_the_socket():
    with namespace(), record_events("dropsnoop", "-p", os.getpid()) as events:
        with receiving(*V4) as receiver:
            for _ in range(101):
                receiver.sendto(bytes(1009), receiver.getsockname())
            dropped = counters()["Udp.RcvbufErrors"]
        to_nobody(socket.AF_INET, "127.0.0.1", 23)
    assert len(events) == dropped > 50
    assert {event["pid"] for event in events} == {os.getpid()}


@pytest.mark.lab
@pytest.mark.parametrize("created", ["cgroup-link", "cgroup-attach", "kprobe"])
def test_a_datagram_that_cannot_leave_is_of_who_made_its_socket(created):
    hook = ["--hook", f"created={created}"]
    if was_refused(run("dropsnoop", "--dry-run", *hook), {"created": created}):
        return
    with namespace():
        veth()
        ip("addr", "add", "192.0.2.1/24", "dev", "va")
        ip("neigh", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:ee", "dev", "va")
        subprocess.run(["tc", "qdisc", "replace", "dev", "va", "root", "blackhole"], check=True)
        with (
            record_events("dropsnoop", *hook, "-p", os.getpid()) as events,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            for _ in range(23):
                sender.sendto(bytes(101), ("192.0.2.2", 7))
    own_events = [(event["pid"], event["comm"]) for event in events if event["dport"] == 7]
    assert own_events == [own_process()] * 23


@pytest.mark.lab
def test_stacks_count_the_same_packets():
    with namespace():
        tracer = start("dropsnoop", "--stacks", "-f", "json", "--netns", "/proc/self/ns/net", 60)
        to_nobody(socket.AF_INET, "127.0.0.1", 101)
        result = stop(tracer)
    assert result.status == 0, result.err
    rows = [row for row in result.of("summary") if any(f in name for f in UDP4 for name in row["kernel"])]
    assert sum(row["packets"] for row in rows) == 101
    assert {row["reason"] for row in rows} == {reason("NO_SOCKET")}


def test_frames_of_no_ip_and_hostile_names():
    """Send a frame without addresses, on an interface whose name contains a cursor movement."""
    name = "v\x1b[31m"
    with namespace():
        veth(name, "vb")
        for form in ("json", "table"):
            words = ["--wide"] if form == "table" else []
            tracer = start("dropsnoop", "-f", form, "-d", 60, "--netns", "/proc/self/ns/net", *words)
            frame = bytes.fromhex("ffffffffffff 020000000001 88b5".replace(" ", "")) + bytes(50)
            send("vb", [Frame("other", 7, frame)])
            result = stop(tracer)
            if form == "json":
                own_events = [event for event in result.of("event") if event["interface"] == name]
                assert len(own_events) == 7
                assert {(e["saddr"], e["sport"], e["protocol"]) for e in own_events} == {(None, None, None)}
            else:
                assert "\x1b" not in result.out
        ip("link", "del", "vb")


def test_only_of_a_process():
    with namespace(), record_events("dropsnoop", "-p", os.getppid()) as events:
        to_nobody(socket.AF_INET, "127.0.0.1", 23)
    assert not events
    assert run("dropsnoop", "-f", "json", "--", sys.executable, "-c", "pass").status == 0
