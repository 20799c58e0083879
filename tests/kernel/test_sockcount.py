"""Test sockcount as people run it, against known packets in a network of the test's own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support import packets
from support.cli import finish, run, start, stop
from support.needs import needs

pytestmark = pytest.mark.kernel
PROGRAMS = ("c", "bytecode")


def totals(result, interface: str) -> dict[str, tuple[int, int]]:
    """Return the whole run's (packets, bytes) by protocol."""
    assert result.status == 0, result.err
    assert not result.of("loss")
    return {
        record["protocol"]: (record["packets"], record["bytes"])
        for record in result.of("summary")
        if record["interface"] == interface
    }


def count_packets(*words: object, sender: str):
    """Return sockcount's output while every kind of frame is sent."""
    tracer = start("sockcount", "-f", "json", *words, 60)
    packets.send(sender, packets.frames())
    return stop(tracer)


@pytest.mark.lab
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_protocol_is_counted_to_the_packet_and_byte(program):
    with packets.namespace():
        packets.veth("va", "vb")
        result = count_packets("vb", "--program", program, sender="va")
    assert totals(result, "vb") == packets.expected(packets.frames(), received=True)
    assert {"TCP", "UDP", "ICMP", "ICMPv6", "ARP", "other"} <= set(totals(result, "vb"))


def test_an_interface_with_a_large_number_has_the_same_rows():
    with packets.namespace():
        assert packets.veth("va", "vb", index=5000)[1] == 5000
        result = count_packets("vb", sender="va")
    assert totals(result, "vb") == packets.expected(packets.frames(), received=True)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("direction", "times"), [("in", 1), ("out", 1), pytest.param("both", 2, marks=pytest.mark.lab)]
)
def test_on_lo_each_packet_is_seen_once_a_direction(program, direction, times):
    with packets.namespace():
        packets.ip("link", "set", "lo", "up")
        tracer = start("sockcount", "-f", "json", "lo", "--program", program, "--direction", direction, 60)
        sent = [packets.ethernet("UDP", 101, packets.ETH_P_IP, packets.ipv4(17, bytes(30)))]
        packets.send("lo", sent)
        udp, size = totals(stop(tracer, signal.SIGTERM), "lo")["UDP"]
    assert udp == 101 * times
    assert size == 101 * times * len(sent[0].data)


def test_several_interfaces_and_any():
    with packets.namespace():
        packets.veth("va", "vb")
        totals_ = count_packets("va", "vb", "--direction", "both", sender="va")
        everything = count_packets("any", "--direction", "both", sender="va")
    is_received = packets.expected(packets.frames(), received=True)
    sent = packets.expected(packets.frames(), received=False)
    for result in (totals_, everything):
        assert totals(result, "vb") == is_received
        assert totals(result, "va") == sent


def test_rows_of_intervals_add_up():
    with packets.namespace():
        packets.veth("va", "vb")
        tracer = start("sockcount", "-f", "json", "vb", 0.1)
        for _ in range(5):
            packets.send("va", packets.frames())
        result = stop(tracer)
    rows: dict[str, int] = {}
    for record in result.of("row"):
        rows[record["protocol"]] = rows.get(record["protocol"], 0) + record["packets"]
    assert rows == {name: count for name, (count, _) in totals(result, "vb").items()}
    assert rows == {
        name: 5 * count for name, (count, _) in packets.expected(packets.frames(), received=True).items()
    }


def test_an_interface_may_be_called_like_a_number():
    with packets.namespace():
        packets.veth("1", "2")
        result = run("sockcount", "1", "-d", 0.1)
        assert (result.status, result.err) == (0, "")
        tracer = start("sockcount", "-f", "json", "2", "1", "5")  # an interface, INTERVAL and COUNT
        packets.send("1", packets.frames())
        assert totals(stop(tracer), "2") == packets.expected(packets.frames(), received=True)
        assert run("sockcount", "3", "-d", 0.1).status == 2


def test_an_interface_that_does_not_exist_lists_those_that_do():
    with packets.namespace():
        packets.veth("va", "vb")
        result = run("sockcount", "vc")
    assert result.status == 2
    assert result.err.splitlines()[0] == "pytracer: error: no network interface 'vc'"
    for name in ("lo", "va", "vb"):
        assert name in result.err.splitlines()[1]


def test_a_command_cannot_be_traced_by_it():
    result = run("sockcount", "lo", "--", "true")
    assert result.status == 2
    assert "cannot tell one command's doings" in result.err


@pytest.mark.parametrize("words", [["sockcount"], ["sockcount", 1, 5]])
def test_an_interface_is_required(words):
    result = run(*words)
    assert result.status == 2
    assert "sockcount needs interfaces" in result.err


@pytest.mark.lab
def test_an_interface_that_disappears_is_reported_and_ends_it():
    with packets.namespace():
        packets.veth("va", "vb")
        tracer = start("sockcount", "-f", "json", "vb", 0.1)
        packets.send("va", packets.frames())
        packets.ip("link", "del", "vb")
        result = finish(tracer)
    assert "warning: interface vb: network is down" in result.err
    assert totals(result, "vb") == packets.expected(packets.frames(), received=True)


@pytest.mark.lab
@pytest.mark.parametrize("program", PROGRAMS)
def test_tap_and_tun_devices_in_both_directions(program):
    """A packet that a program or virtual machine sends by the device comes in; one that it receives goes
    out."""
    needs("tun", Path("/dev/net/tun").exists())
    for name, kind, sent, ethertype in (
        ("tap7", packets.IFF_TAP, packets.frames(), 0),
        ("tun7", packets.IFF_TUN, packets.ip_packets()[:3], packets.ETH_P_IP),
    ):
        with packets.namespace(), packets.tun(name, kind) as fd:
            words = ("sockcount", "-f", "json", name, "--program", program, "--direction")
            tracers = [start(*words, direction, 60) for direction in ("in", "out")]
            for frame in sent:
                for _ in range(frame.times):
                    os.write(fd, frame.data)
            packets.send(name, sent, ethertype)
            for tracer, is_received in zip(tracers, (True, False), strict=True):
                assert packets.totals(stop(tracer), name) == packets.expected(sent, received=is_received)
