"""Test both programs of sockcount, the C and the lesson's, on the same packets."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytracer.bpf.asm.assembler import R0, Assembler
from pytracer.bpf.asm.lessons import sockcount as lesson
from pytracer.bpf.attach import socket_filter
from pytracer.bpf.compile.bcc import BccModule
from pytracer.bpf.compile.headers import find_headers
from pytracer.bpf.compile.source import read_source
from pytracer.bpf.load.module import Module
from pytracer.bpf.sys import ProgType
from pytracer.enrich.protocols import packet_protocol
from pytracer.errors import BuildError, VerifierError
from pytracer.kernel.interfaces import Interface, link_header_length, list_interfaces, resolve
from pytracer.model.loss import REASONS
from pytracer.spec.packets import ROWS as TABLE
from support import packets
from support.needs import needs
from support.packets import Frame, expected, frames, send

pytestmark = pytest.mark.kernel

Rows = dict[int, dict[str, tuple[int, int]]]
IN, OUT, BOTH = DIRECTIONS = range(3)
PROGRAMS = ("c", "bytecode")
ROWS = 8192
KNOWN = (0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8)  # EtherTypes with rows in an array, or that are looked into
LIMIT = 30  # seconds; nothing is measured, a hang is all that this is for


def built(program: str) -> Module:
    if program == "bytecode":
        return lesson.Lesson(rows=ROWS)
    text = read_source("sockcount.c")
    flags = ["-DPT_CFG_DIRECTION=0", "-DPT_CFG_SLOTS=1", f"-DPT_ROWS_MAX={ROWS}"]
    return BccModule("sockcount.c", text, flags, find_headers(text))


class Counter:
    """A module with a loaded program, and the sockets that it is attached to."""

    def __init__(self, program: str) -> None:
        self.module = built(program)
        self.sockets: list[socket.socket] = []
        self.program = self.module.load("count", ProgType.SOCKET_FILTER)

    def direct(self, direction: int) -> None:
        self.module.maps["pt_config"].update(struct.pack("i", 0), struct.pack("Q", direction))

    def link(self, index: int, length: int) -> None:
        self.module.maps["links"].update(struct.pack("I", index), struct.pack("I", length))
        if "pt_links" in self.module.maps:
            self.module.maps["pt_links"].update(struct.pack("I", 0), struct.pack("I", 1))

    def attach(self, *indexes: int) -> None:
        self.sockets += [
            socket.socket(fileno=socket_filter.attach_to_socket(i, self.program)) for i in indexes
        ]

    def rows(self) -> Rows:
        """Return packets and bytes by interface and protocol."""
        actual: Rows = defaultdict(dict)
        for interface, protocol, counts in self.entries():
            name = packet_protocol(protocol)
            assert name not in actual[interface]
            actual[interface][name] = int(counts["packets"].sum()), int(counts["bytes"].sum())
        return dict(actual)

    def entries(self) -> Iterator[tuple[int, int, Any]]:
        """Yield interface, protocol and counters of each row; the C has some of them in an array."""
        for key, counts in zip(*self.module.maps["rows"].read(), strict=True):
            yield int(key["interface"]), int(key["protocol"]), counts
        if "dense" in self.module.maps:
            for index, counts in zip(*self.module.maps["dense"].read(), strict=True):
                interface, code = divmod(int(index), len(TABLE.dense_codes))
                if counts["packets"].any():
                    yield interface, TABLE.dense_codes[code], counts

    def total(self) -> int:
        return sum(number for rows in self.rows().values() for number, _ in rows.values())

    def lost(self) -> dict[str, int]:
        _, values = self.module.maps["pt_losses"].read()
        return dict(zip(REASONS, values.sum(axis=1).tolist(), strict=True))

    def arrived(self, number: int) -> Rows:
        """Return the rows once ``number`` packets were counted: sent packets may still be on their way."""
        deadline = time.monotonic() + LIMIT
        while self.total() < number and time.monotonic() < deadline:
            time.sleep(0.001)
        return self.rows()

    def close(self) -> None:
        while self.sockets:
            self.sockets.pop().close()
        self.module.close()


@pytest.fixture(params=PROGRAMS)
def counter(request):
    created = Counter(request.param)
    yield created
    created.close()


@pytest.fixture
def namespace():
    with packets.namespace():
        yield


def number(sent: list[Frame]) -> int:
    return sum(frame.times for frame in sent)


def add(first: dict[str, tuple[int, int]], second: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    sums = {}
    for name in first | second:
        (packets_a, bytes_a), (packets_b, bytes_b) = first.get(name, (0, 0)), second.get(name, (0, 0))
        sums[name] = packets_a + packets_b, bytes_a + bytes_b
    return sums


@pytest.mark.parametrize("direction", DIRECTIONS, ids=["in", "out", "both"])
def test_every_protocol_by_interface_and_direction(counter, namespace, direction):
    first, other = packets.veth()
    counter.direct(direction)
    counter.attach(first, other)
    remote, reverse = frames(), [packets.ethernet("ARP", 17, 0x0806, bytes(28))]
    send("va", remote)
    send("vb", reverse)
    rows = counter.arrived((number(remote) + number(reverse)) * (2 if direction == BOTH else 1))
    outgoing = expected(remote, received=False), expected(reverse, received=False)
    incoming = expected(remote, received=True), expected(reverse, received=True)
    if direction == OUT:
        assert rows == {first: outgoing[0], other: outgoing[1]}
    elif direction == IN:
        assert rows == {other: incoming[0], first: incoming[1]}
    else:
        assert rows == {first: add(outgoing[0], incoming[1]), other: add(incoming[0], outgoing[1])}
    assert set(counter.lost().values()) == {0}


@pytest.mark.parametrize("direction", DIRECTIONS, ids=["in", "out", "both"])
def test_loopback_shows_each_packet_once_in_each_direction(counter, namespace, direction):
    lo = socket.if_nametoindex("lo")
    counter.direct(direction)
    counter.attach(lo)
    sent = frames()
    send("lo", sent)
    outgoing, incoming = expected(sent, received=False), expected(sent, received=True)
    selected = {IN: incoming, OUT: outgoing, BOTH: add(outgoing, incoming)}[direction]
    assert counter.arrived(number(sent) * (2 if direction == BOTH else 1)) == {lo: selected}


def test_any_is_every_interface_each_with_rows_of_its_own(counter, namespace):
    first, other = packets.veth()
    lo = socket.if_nametoindex("lo")
    counter.direct(BOTH)
    counter.attach(0)
    sent = frames()
    send("va", sent)
    send("lo", sent)
    outgoing, incoming = expected(sent, received=False), expected(sent, received=True)
    assert counter.arrived(4 * number(sent)) == {
        first: outgoing,
        other: incoming,
        lo: add(outgoing, incoming),
    }


def test_a_direction_changed_meanwhile_counts_from_then_on(counter, namespace):
    first, other = packets.veth()
    counter.attach(first, other)
    rows: Rows = {}
    for direction in (IN, OUT):
        counter.direct(direction)
        send("va", [packets.ethernet("LLDP", 11, 0x88CC, bytes(46))])
        rows = counter.arrived(11 * (direction + 1))
    assert rows == {first: {"LLDP": (11, 660)}, other: {"LLDP": (11, 660)}}


@pytest.fixture
def tun():
    """Require that interfaces without a link header can be created."""
    needs("tun", Path("/dev/net/tun").exists())


@pytest.mark.usefixtures("tun")
@pytest.mark.parametrize("direction", DIRECTIONS, ids=["in", "out", "both"])
def test_a_link_without_a_header(counter, namespace, direction):
    with packets.tun() as fd:
        tun = list_interfaces()[socket.if_nametoindex("tun7")]
        counter.direct(direction)
        counter.link(tun.index, link_header_length(tun.type))
        counter.attach(tun.index)
        sent = packets.ip_packets()
        for frame in sent:
            for _ in range(frame.times):
                os.write(fd, frame.data)
        reverse = [Frame("UDP", 29, packets.ipv4(17, bytes(72)))]
        send("tun7", reverse, packets.ETH_P_IP)
        incoming, outgoing = expected(sent, received=True), expected(reverse, received=False)
        selected = {IN: incoming, OUT: outgoing, BOTH: add(incoming, outgoing)}[direction]
        assert counter.arrived(sum(count for count, _ in selected.values())) == {tun.index: selected}


@pytest.mark.usefixtures("tun")
def test_a_link_without_a_header_may_carry_other_protocols_than_ip(counter, namespace):
    with packets.tun():
        index = socket.if_nametoindex("tun7")
        counter.direct(OUT)
        counter.link(index, 0)
        counter.attach(index)
        for ethertype in (0x000C, 0x8100, 0x8847):
            send("tun7", [Frame("", 3, bytes(16))], ethertype)
        send("tun7", [Frame("", 2, packets.ipv4(6, packets.TCP)[:19])], packets.ETH_P_IP)
        assert counter.arrived(11) == {
            index: {"CAN": (3, 48), "VLAN": (3, 48), "MPLS": (3, 48), "malformed": (2, 38)}
        }


def test_an_ethernet_link_may_be_in_the_map_of_links(counter, namespace):
    first, other = packets.veth()
    for index, interface in list_interfaces().items():
        counter.link(index, link_header_length(interface.type))
    counter.attach(first, other)
    sent = frames()
    send("va", sent)
    assert counter.arrived(number(sent)) == {other: expected(sent, received=True)}


def test_interfaces_are_those_of_the_namespace_with_all_their_names(namespace):
    first, other = packets.veth()
    packets.ip("link", "property", "add", "dev", "va", "altname", "the-far-end-of-vb", "altname", "uplink")
    actual = list_interfaces()
    assert actual[first] == Interface("va", first, 1, ("the-far-end-of-vb", "uplink"))
    assert actual[other] == Interface("vb", other, 1)
    assert resolve(["uplink", "vb", "va"]) == {first: "uplink", other: "vb"}


def test_the_socket_gets_nothing(counter, namespace):
    _, other = packets.veth()
    counter.attach(other)
    send("va", [packets.ethernet("LLDP", 11, 0x88CC, bytes(46))])
    assert counter.arrived(11) == {other: {"LLDP": (11, 660)}}
    (listening,) = counter.sockets
    with pytest.raises(BlockingIOError):
        listening.recv(1, socket.MSG_DONTWAIT)


def test_packets_that_do_not_fit_are_counted_as_lost(counter, namespace):
    _, other = packets.veth()
    counter.attach(other)
    other_protocols = [kind for kind in range(0x600, 0x10000) if kind not in KNOWN]
    sent = [packets.ethernet("", 1, kind, b"") for kind in other_protocols[: ROWS + 101]]
    send("va", sent)
    deadline = time.monotonic() + LIMIT
    while counter.total() + counter.lost()["map_full"] < len(sent) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert counter.total() == len(counter.rows()[other]) == ROWS
    assert counter.lost() == dict.fromkeys(REASONS, 0) | {"map_full": 101}


def test_both_programs_have_the_same_maps():
    modules = [built(program) for program in PROGRAMS]
    try:
        c, bytecode = (
            {name: (m.type, m.key, m.value, m.max_entries) for name, m in module.maps.items()}
            for module in modules
        )
        assert c.pop("rows_other") == c["rows"]  # what is counted in C is taken out as it is read
        # C looks no link up where all are Ethernet, and no row of the usual protocols.
        del c["pt_active_map"], c["pt_links"], c["dense"]
        assert c == bytecode
    finally:
        for module in modules:
            module.close()


def test_the_lesson_reads_its_config_at_start():
    module = lesson.Lesson([OUT])
    try:
        _, values = module.maps["pt_config"].read()
        assert values.tolist() == [OUT]
    finally:
        module.close()


def test_a_rejected_program_is_reported_with_the_verifier_log(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module = lesson.Lesson()
    try:
        module.program = Assembler()
        module.program.load(lesson.W, R0, R0, 0)
        module.program.exit()
        with pytest.raises(VerifierError, match="the verifier refused sockcount:count: ") as excinfo:
            module.load("count", ProgType.SOCKET_FILTER)
        assert "R0 !read_ok" in excinfo.value.detail
        (log,) = tmp_path.iterdir()
        assert str(log) in excinfo.value.hint
        assert log.read_text() == excinfo.value.detail
    finally:
        module.close()


def test_the_lesson_has_one_program():
    module = lesson.Lesson()
    try:
        for program, kind in (("other", ProgType.SOCKET_FILTER), ("count", ProgType.KPROBE)):
            with pytest.raises(BuildError, match="has no program"):
                module.load(program, kind)
    finally:
        module.close()


def test_the_lesson_by_itself(namespace, capsys, monkeypatch):
    packets.veth()
    sent = [packets.ethernet("LLDP", 11, 0x88CC, bytes(46))]
    monkeypatch.setattr(lesson.time, "sleep", lambda _seconds: send("va", sent))
    lesson.main(["vb"])
    assert "protocol 0x188cc: 55 packets, 3300 bytes" in capsys.readouterr().out
    lesson.main([])
    listing = capsys.readouterr().out
    assert "r1 = map rows" in listing
    assert listing.rstrip().endswith("exit")


def held() -> list[str]:
    """Return what this process holds open of the kernel's: programs, maps, sockets, namespaces."""
    actual = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder's own descriptor
            actual.append(str(entry.readlink()))
    own_kinds = ("anon_inode:bpf", "anon_inode:btf", "socket:", "net:")
    return sorted(name for name in actual if name.startswith(own_kinds))


@pytest.mark.parametrize("program", PROGRAMS)
def test_closed_programs_leave_no_descriptors(program):
    local = Path("/proc/thread-self/ns/net")
    before, home = held(), local.stat().st_ino
    with packets.namespace():
        counter = Counter(program)
        counter.attach(*packets.veth())
        assert len(held()) > len(before)
        counter.close()
        counter.close()
    assert held() == before
    assert local.stat().st_ino == home
