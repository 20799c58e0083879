"""Test fanoutcount: each packet is counted for the worker that the kernel gives it to."""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from pathlib import Path

import pytest

from pytracer.bpf.attach import packet_fanout
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.attach.link import Link, attach_all_or_none
from pytracer.bpf.sys import ProgType, prog_load
from pytracer.bpf.trial import instruction, return_code
from pytracer.errors import PytracerError
from pytracer.spec import PacketFanout
from support import packets
from support.cli import Result, finish, run, start, stop

pytestmark = pytest.mark.kernel
WORKERS = 3


def datagram(source: int, target: int, ports: tuple[int, int], fragment: int = 0) -> bytes:
    """Return a UDP datagram of IPv4 between two stations of 192.0.2.0/24."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + 8 + 30, 1, fragment, 64, 17, 0)
    ends = bytes([192, 0, 2, source, 192, 0, 2, target])
    return head + ends + struct.pack("!HHHH", *ports, 38, 0) + bytes(30)


def mixed(word: int) -> int:
    """Compute the hash of probes_c/fanoutcount.c."""
    word = word * 0x9E3779B1 % (1 << 32)
    return word ^ word >> 15


def worker(source: int, target: int, ports: tuple[int, int], *, hosts: bool = False) -> int:
    """Return the worker of such a datagram. Words are little-endian."""
    flow = 0
    for end, port in zip((source, target), (0, 0) if hosts else ports, strict=True):
        word = int.from_bytes(bytes([192, 0, 2, end]), "little")
        flow += mixed((word + int.from_bytes(port.to_bytes(2, "big"), "little")) % (1 << 32))
    return (mixed(flow % (1 << 32)) >> 16) % WORKERS


FLOWS = [(source, 200 - source, (1000 + 7 * source, 53), source) for source in range(1, 24)]
SENT = [
    packets.ethernet("UDP", times, packets.ETH_P_IP, datagram(a, b, ports)) for a, b, ports, times in FLOWS
] + [packets.ethernet("ARP", 5, 0x0806, bytes(28))]


def count_packets(*words: object, sent: list[packets.Frame]) -> Result:
    with packets.namespace():
        packets.veth()
        tracer = start("fanoutcount", "-f", "json", "vb", "-n", WORKERS, *words, 60)
        packets.send("va", sent)
        return stop(tracer)


def shares(result: Result) -> dict[int, tuple[int, int]]:
    assert result.status == 0, result.err
    assert not result.of("loss")
    return {r["worker"]: (r["packets"], r["bytes"]) for r in result.of("summary")}


def expected(*, hosts: bool) -> dict[int, tuple[int, int]]:
    counts = Counter[int]()
    for a, b, ports, times in FLOWS:
        counts[worker(a, b, ports, hosts=hosts)] += times
    numbers = {number: (times, 58 * times) for number, times in counts.items()}
    packets_, size = numbers.get(0, (0, 0))
    return numbers | {0: (packets_ + 5, size + 5 * 28)}


@pytest.mark.lab
@pytest.mark.smoke
@pytest.mark.parametrize("spread", ["flow", "hosts"])
def test_each_packet_is_counted_for_its_flow(spread):
    actual = shares(count_packets("--spread", spread, sent=SENT))
    assert actual == expected(hosts=spread == "hosts")
    assert len(actual) == WORKERS


def test_both_directions_and_all_fragments_of_a_flow_go_to_one_worker():
    sent = [
        packets.ethernet("UDP", 7, packets.ETH_P_IP, datagram(1, 2, (1000, 53))),
        packets.ethernet("UDP", 5, packets.ETH_P_IP, datagram(2, 1, (53, 1000))),
        packets.ethernet("UDP", 3, packets.ETH_P_IP, datagram(1, 2, (1000, 53), 0x2000)),
        packets.ethernet("UDP", 2, packets.ETH_P_IP, datagram(1, 2, (99, 98), 185)),
    ]
    assert shares(count_packets("--spread", "hosts", sent=sent)) == {
        worker(1, 2, (0, 0), hosts=True): (17, 17 * 58)
    }
    by_flow = Counter({worker(1, 2, (1000, 53)): 12})
    by_flow[worker(1, 2, (0, 0), hosts=True)] += 5
    assert {number: times for number, (times, _) in shares(count_packets(sent=sent)).items()} == by_flow


def test_ipv6_and_a_filter():
    sent = [
        packets.ethernet("UDP", 11, packets.ETH_P_IPV6, packets.ipv6(17, packets.UDP)),
        packets.ethernet("TCP", 3, packets.ETH_P_IP, packets.ipv4(6, packets.TCP)),
    ]
    assert [actual for _, actual in shares(count_packets("--filter", "ip6", sent=sent)).items()] == [
        (11, 11 * 48)
    ]


def test_by_cpu_every_packet_is_counted_by_one_worker():
    assert sum(times for times, _ in shares(count_packets("--spread", "cpu", sent=SENT)).values()) == sum(
        frame.times for frame in SENT
    )


@pytest.mark.lab
def test_the_kernel_gives_a_packet_to_the_worker_that_the_program_names():
    """The program returns a byte of the packet, and each socket counts what it receives."""
    last = (
        instruction(0xBF, 6, 1)  # r6 = the context, which the next one reads from
        + instruction(0x30, immediate=20 + 8)  # r0 = the first byte behind the headers of IPv4 and UDP
        + instruction(0x95)
    )
    choosing = prog_load(ProgType.SOCKET_FILTER, last)
    program = prog_load(ProgType.SOCKET_FILTER, return_code(0xFFFF))
    links = list[Link]()
    with packets.namespace(), attach_all_or_none(links):
        _, near = packets.veth()
        for link in packet_fanout.join_group(near, "vb", choosing, program, WORKERS):
            links.append(link)
        for number in range(WORKERS):
            data = datagram(1, 2, (9, 9))[:28] + bytes([number]) * 30
            packets.send("va", [packets.ethernet("UDP", 7 + number, packets.ETH_P_IP, data)])
        assert [read_packets(link.fd) for link in links] == [
            Counter({number: 7 + number}) for number in range(WORKERS)
        ]
        for link in links:
            link.close()
    os.close(choosing)
    os.close(program)


def read_packets(descriptor: int) -> Counter[int]:
    """Return the packets that wait in a packet socket, by their last byte."""
    actual = Counter[int]()
    with socket.socket(fileno=os.dup(descriptor)) as worker:
        worker.setblocking(False)
        try:
            while True:
                actual[worker.recv(2000)[-1]] += 1
        except BlockingIOError:
            return actual


def test_the_groups_of_others_keep_their_packets():
    """Another owner's group has the number that ours would get."""
    program = prog_load(ProgType.SOCKET_FILTER, return_code(0xFFFF))
    other = list[Link]()
    with packets.namespace(), attach_all_or_none(other):
        _, near = packets.veth()
        for link in packet_fanout.join_group(near, "vb", program, program, 1):
            other.append(link)
        tracer = start("fanoutcount", "-f", "json", "vb", "-n", WORKERS, 60)
        packets.send("va", SENT[:10])  # for which a socket has room
        assert sum(times for times, _ in shares(stop(tracer)).values()) == sum(range(1, 11))
        assert read_packets(other[0].fd).total() == sum(range(1, 11))
        other.pop().close()
    os.close(program)


def sockets() -> int:
    """Return how many packet sockets there are in the network of the calling thread."""
    return len(Path("/proc/thread-self/net/packet").read_text().splitlines()) - 1


@pytest.mark.lab
def test_a_killed_process_leaves_nothing():
    with packets.namespace():
        packets.veth()
        tracer = start("fanoutcount", "vb", "-n", WORKERS, 60)
        assert sockets() == WORKERS
        tracer.kill()
        tracer.communicate()
        assert sockets() == 0


def test_an_error_while_attaching_leaves_nothing_attached(monkeypatch):
    joined = []

    def join(descriptor: int, number: int | None, program: int) -> int:
        joined.append(descriptor)
        if len(joined) == WORKERS:
            raise OSError(28, "no room")
        return 1

    monkeypatch.setattr(packet_fanout, "_join", join)
    keep_all = prog_load(ProgType.SOCKET_FILTER, return_code(0))
    with packets.namespace():
        _, near = packets.veth()
        target = AttachTarget("", {near: "vb"}, members=WORKERS)
        with pytest.raises(PytracerError, match="a fanout group on vb"):
            packet_fanout.attach(PacketFanout(""), target, keep_all)
        assert sockets() == 0
    os.close(keep_all)


def test_an_interface_that_disappears_is_reported_and_ends_it():
    with packets.namespace():
        packets.veth()
        tracer = start("fanoutcount", "-f", "json", "vb", 0.1)
        packets.send("va", SENT)
        packets.ip("link", "del", "vb")
        result = finish(tracer)
    assert result.err.count("warning: interface vb: network is down") == 1
    assert sum(times for times, _ in shares(result).values()) == sum(frame.times for frame in SENT)


def test_an_invalid_number_of_workers():
    result = run("fanoutcount", "lo", "-n", 257)
    assert result.status == 2
    assert "from 1 to 256" in result.err


@pytest.mark.parametrize("tracer", ["fanoutcount", "sockcount", "tccount", "xdpcount"])
def test_an_interface_that_is_down_is_reported_so(tracer):
    """Some kernels create no fanout group on such an interface; they still support fanout."""
    with packets.namespace():
        packets.veth()
        packets.ip("link", "set", "vb", "down")
        result = run(tracer, "vb", "-d", 0.1)
        if result.status:
            assert tracer == "fanoutcount"
            assert result.err.startswith("pytracer: error: vb is down: ")
        else:
            assert result.err.splitlines() == [
                "pytracer: warning: vb is down: nothing is seen there before it is up (ip link set vb up)"
            ]
        packets.ip("link", "set", "vb", "up")
        result = run(tracer, "vb", "-d", 0.1)
        assert (result.status, result.err) == (0, "")
