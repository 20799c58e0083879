"""Test packetsnoop: each packet once, with its ends, in the order in which they were sent."""

from __future__ import annotations

import ipaddress

import pytest

from support import packets
from support.cli import finish, start, stop

pytestmark = pytest.mark.kernel
SOURCE, TARGET = "192.0.2.1", "192.0.2.2"
PORTS = bytes.fromhex("03e8 0035")


def packet_tuples(result) -> list[tuple[object, ...]]:
    assert result.status == 0, result.err
    assert not result.of("loss")
    names = ("direction", "protocol", "saddr", "sport", "daddr", "dport", "bytes")
    return [tuple(record[name] for name in names) for record in result.of("event")]


def expected(direction: str, frames: list[packets.Frame]) -> list[tuple[object, ...]]:
    """Return the expected rows of frames, without the addresses and ports of IP. Tags that a device took off
    count."""
    return [(direction, frame.protocol, len(frame.data)) for frame in frames for _ in range(frame.times)]


@pytest.mark.lab
@pytest.mark.smoke
def test_every_kind_of_packet_is_shown_once_in_each_direction():
    with packets.namespace():
        packets.veth()
        tracers = [start("packetsnoop", "-f", "json", name) for name in ("va", "vb")]
        packets.send("va", packets.frames())
        out, into = (packet_tuples(stop(tracer)) for tracer in tracers)
    for direction, actual in (("out", out), ("in", into)):
        assert [(alternative, protocol, size) for alternative, protocol, *_, size in actual] == expected(
            direction, packets.frames()
        )


def test_the_ends_of_packets():
    six = str(ipaddress.ip_address("2001:db8::1")), str(ipaddress.ip_address("2001:db8::2"))
    sent = [
        packets.ethernet("UDP", 3, packets.ETH_P_IP, packets.ipv4(17, PORTS + bytes(4))),
        packets.ethernet("TCP", 2, packets.ETH_P_IP, packets.ipv4(6, PORTS + bytes(16), options=bytes(8))),
        packets.ethernet("UDP", 1, packets.ETH_P_IP, packets.ipv4(17, PORTS + bytes(4), fragment=185)),
        packets.ethernet("UDP", 1, packets.ETH_P_IP, b"\x44" + packets.ipv4(17, PORTS + bytes(4))[1:]),
        # The packet ends where the ports would be: what follows is padding of the link.
        packets.ethernet("UDP", 1, packets.ETH_P_IP, packets.ipv4(17, b"") + PORTS + bytes(18)),
        packets.ethernet("ICMP", 1, packets.ETH_P_IP, packets.ipv4(1, bytes(8))),
        packets.ethernet("TCP", 5, packets.ETH_P_IPV6, packets.ipv6(6, PORTS + bytes(16))),
        packets.ethernet("ARP", 1, 0x0806, bytes(28)),
    ]
    with packets.namespace():
        packets.veth()
        tracer = start("packetsnoop", "-f", "json", "vb", "--direction", "in")
        packets.send("va", sent)
        actual = packet_tuples(stop(tracer))
    assert actual == [
        *[("in", "UDP", SOURCE, 1000, TARGET, 53, 42)] * 3,
        *[("in", "TCP", SOURCE, 1000, TARGET, 53, 62)] * 2,
        ("in", "UDP", SOURCE, None, TARGET, None, 42),
        ("in", "malformed", None, None, None, None, 42),
        ("in", "UDP", SOURCE, None, TARGET, None, 56),
        ("in", "ICMP", SOURCE, None, TARGET, None, 42),
        *[("in", "TCP", six[0], 1000, six[1], 53, 74)] * 5,
        ("in", "ARP", None, None, None, None, 42),
    ]


def test_a_filter_and_one_direction():
    with packets.namespace():
        tracer = start("packetsnoop", "-f", "json", "lo", "--direction", "out", "--filter", "udp port 53")
        for ports in (PORTS, bytes(4)):
            packet = packets.ipv4(17, ports + bytes(4))
            packets.send("lo", [packets.ethernet("UDP", 23, packets.ETH_P_IP, packet)])
        assert packet_tuples(stop(tracer)) == [("out", "UDP", SOURCE, 1000, TARGET, 53, 42)] * 23


def test_events_that_do_not_fit_are_counted():
    """The ring has one page, and its reader is stopped."""
    with packets.namespace():
        tracer = start("packetsnoop", "-f", "json", "lo", "--direction", "out", "--buffer", 4096)
        packets.send("lo", [packets.ethernet("UDP", 5000, packets.ETH_P_IP, packets.ipv4(17, bytes(8)))])
        result = stop(tracer)
    assert len(result.of("event")) + sum(loss["lost"] for loss in result.of("loss")) == 5000


def test_an_interface_that_disappears_is_reported_and_ends_it():
    with packets.namespace():
        packets.veth()
        tracer = start("packetsnoop", "-f", "json", "vb")
        packets.send("va", [packets.ethernet("ARP", 7, 0x0806, bytes(28))])
        packets.ip("link", "del", "vb")
        result = finish(tracer)
    assert result.err.count("warning: interface vb: network is down") == 1
    assert len(packet_tuples(result)) == 7
