"""Create network namespaces, interfaces and frames, with known numbers of packets and bytes.

A namespace is made by the calling thread and for it alone; processes that it starts meanwhile are in it too.
It has no name: with its last process or descriptor it is gone, and its interfaces with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from support.cli import Result

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_TAP, IFF_NO_PI = 0x0001, 0x0002, 0x1000
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD

_libc = ctypes.CDLL(None, use_errno=True)

# To a station that is not here: the kernel shows the frame to packet sockets, then drops it unanswered.
ETHERNET = bytes.fromhex("0200000000ee 020000000001".replace(" ", ""))
TAGS = {0x8100: struct.pack("!HH", 0x8100, 42), 0x88A8: struct.pack("!HH", 0x88A8, 7)}


class Frame(NamedTuple):
    """``times`` frames of these bytes, each to be counted as ``protocol``.

    ``taken_off`` is how many bytes a device takes off a frame that it receives: its outer VLAN tag.
    """

    protocol: str
    times: int
    data: bytes
    taken_off: int = 0


def ethernet(protocol: str, times: int, ethertype: int, payload: bytes, *tags: int) -> Frame:
    """Return frames with VLAN tags, the outermost first."""
    marked = b"".join(TAGS[tag] for tag in tags)
    data = ETHERNET + marked + struct.pack("!H", ethertype) + payload
    return Frame(protocol, times, data, 4 if tags else 0)


def ipv4(protocol: int, payload: bytes, *, fragment: int = 0, options: bytes = b"") -> bytes:
    """Return an IPv4 packet from one documentation address to another (RFC 5737)."""
    words = 5 + len(options) // 4
    total = words * 4 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, total, 1, fragment, 64, protocol, 0)
    return head + bytes([192, 0, 2, 1, 192, 0, 2, 2]) + options + payload


def ipv6(following: int, payload: bytes) -> bytes:
    """Return an IPv6 packet from one documentation address to another (RFC 3849)."""
    source = bytes.fromhex("20010db8000000000000000000000001")
    target = bytes.fromhex("20010db8000000000000000000000002")
    return struct.pack("!IHBB", 6 << 28, len(payload), following, 64) + source + target + payload


def options(following: int, units: int = 0) -> bytes:
    """Return hop-by-hop or destination options, routing, mobility: 8 * (units + 1) bytes."""
    return bytes([following, units]) + bytes(6 + 8 * units)


def fragment(following: int, offset: int, more_fragments: int = 1) -> bytes:
    """Return a fragment header; ``offset`` in units of 8 bytes."""
    return struct.pack("!BBHI", following, 0, offset << 3 | more_fragments, 0x1234)


def authentication(following: int, words: int) -> bytes:
    """Return an authentication header of 4 * (words + 2) bytes."""
    return bytes([following, words]) + bytes(4 * (words + 2) - 2)


TCP, UDP = bytes(20), bytes(8)
SEEN_THROUGH = options(60) + options(44, 2) + fragment(6, 0) + TCP


def ip_packets() -> list[Frame]:
    """Return IP packets without a link header."""
    return [
        Frame("TCP", 101, ipv4(6, TCP + b"x" * 30)),
        Frame("UDP", 23, ipv4(17, UDP + b"x" * 100)),
        Frame("ICMP", 7, ipv4(1, bytes(64))),
        Frame("ICMPv6", 5, ipv6(58, bytes(24))),
        Frame("TCP", 3, ipv6(0, SEEN_THROUGH)),
        Frame("other", 2, ipv4(253, b"experiment")),
    ]


def frames() -> list[Frame]:
    """Return Ethernet frames of every kind that tracers distinguish."""
    extensions = b"".join(options(60) for _ in range(7))
    result = [
        # What is common.
        *(ethernet(f.protocol, f.times, _ethertype(f.data), f.data) for f in ip_packets()),
        ethernet("UDP", 2, ETH_P_IPV6, ipv6(17, UDP)),
        ethernet("TCP", 2, ETH_P_IP, ipv4(6, TCP, options=bytes(8))),
        ethernet("UDP", 3, ETH_P_IP, ipv4(17, b"the rest of a datagram", fragment=185)),
        # IPv6 and its extension headers, each of a length of its own.
        ethernet("TCP", 2, ETH_P_IPV6, ipv6(43, options(51, 3) + authentication(6, 4) + TCP)),
        ethernet("UDP", 3, ETH_P_IPV6, ipv6(51, authentication(135, 1) + options(17, 1) + UDP)),
        ethernet("ICMPv6", 2, ETH_P_IPV6, ipv6(139, options(140) + options(58) + bytes(8))),
        ethernet("UDP", 2, ETH_P_IPV6, ipv6(44, fragment(17, 185) + b"the rest of a datagram")),
        ethernet("other", 1, ETH_P_IPV6, ipv6(44, fragment(60, 185) + options(6) + TCP)),
        ethernet("TCP", 1, ETH_P_IPV6, ipv6(60, extensions + options(6) + TCP)),
        ethernet("other", 1, ETH_P_IPV6, ipv6(60, extensions + options(60) + options(6) + TCP)),
        ethernet("other", 2, ETH_P_IPV6, ipv6(59, b"")),
        ethernet("other", 1, ETH_P_IPV6, ipv6(50, bytes(32))),
        # A protocol number that belongs to the other version of IP.
        ethernet("other", 1, ETH_P_IPV6, ipv6(1, bytes(8))),
        ethernet("other", 2, ETH_P_IP, ipv4(58, bytes(8))),
        # Tags.
        ethernet("UDP", 5, ETH_P_IP, ipv4(17, UDP), 0x8100),
        ethernet("TCP", 4, ETH_P_IPV6, ipv6(0, SEEN_THROUGH), 0x88A8, 0x8100),
        ethernet("ICMP", 1, ETH_P_IP, ipv4(1, bytes(8)), 0x8100, 0x8100),
        ethernet("ARP", 3, 0x0806, bytes(28), 0x8100),
        ethernet("LLC", 2, 38, b"\x42\x42\x03" + bytes(35), 0x8100),
        # No IP.
        ethernet("ARP", 13, 0x0806, bytes(28)),
        ethernet("LLDP", 11, 0x88CC, bytes(46)),
        ethernet("LLC", 3, 38, b"\x42\x42\x03" + bytes(35)),
        ethernet("ethertype_0x88b5", 2, 0x88B5, bytes(10)),
        ethernet("ethertype_0x0600", 1, 0x0600, bytes(1)),
        # Cut short, or not what was announced.
        ethernet("malformed", 2, ETH_P_IP, ipv4(6, TCP)[:19]),
        ethernet("malformed", 1, ETH_P_IP, ipv4(6, TCP)[:1]),
        ethernet("malformed", 2, ETH_P_IPV6, ipv6(6, TCP)[:39]),
        ethernet("malformed", 1, ETH_P_IPV6, ipv6(0, options(6)[:7])),
        ethernet("malformed", 1, ETH_P_IPV6, ipv6(60, options(0, 20))),
        ethernet("malformed", 1, ETH_P_IP, ipv6(6, TCP)),
        # A header that says that it is shorter than any can be.
        ethernet("malformed", 3, ETH_P_IP, b"\x44" + ipv4(17, UDP)[1:]),
        ethernet("malformed", 1, ETH_P_IP, b"\x40" + ipv4(6, TCP)[1:]),
        ethernet("malformed", 1, ETH_P_IPV6, ipv4(6, TCP + bytes(20))),
        # Cut short behind the headers that matter here.
        ethernet("TCP", 1, ETH_P_IP, ipv4(6, b"")),
        ethernet("UDP", 1, ETH_P_IPV6, ipv6(60, options(17))),
    ]
    assert {"TCP", "UDP", "ICMP", "ICMPv6", "other", "ARP", "LLDP", "LLC"} < {f.protocol for f in result}
    return result


def expected(frames_sent: Iterable[Frame], *, received: bool) -> dict[str, tuple[int, int]]:
    """Return packets and bytes per protocol, as a receiving or as the sending device shows them."""
    rows: dict[str, tuple[int, int]] = {}
    for frame in frames_sent:
        packets, size = rows.get(frame.protocol, (0, 0))
        length = len(frame.data) - (frame.taken_off if received else 0)
        rows[frame.protocol] = packets + frame.times, size + frame.times * length
    return rows


def send(interface: str, frames_sent: Iterable[Frame], ethertype: int = 0) -> None:
    """Send frames by an interface; if they have no link header, ``ethertype`` is their type."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as packets:
        for frame in frames_sent:
            for _ in range(frame.times):
                packets.sendto(frame.data, (interface, ethertype))


@contextlib.contextmanager
def namespace(*, ipv6: bool = False) -> Iterator[None]:
    """Move the calling thread to a new network namespace with a loopback interface that is up.

    IPv6 is off there, so that no interface announces itself: nothing is sent but what the test sends. With
    ``ipv6`` the loopback interface has its address.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(CLONE_NEWNET))
        try:
            assert Path("/proc/thread-self/ns/net").stat().st_ino != os.fstat(home).st_ino
            for scope in () if ipv6 else ("all", "default"):
                setting = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
                if setting.exists():
                    setting.write_text("1")
            ip("link", "set", "lo", "up")
            yield
            assert attached() == "", "left on the interfaces"
        finally:
            _check(_libc.setns(home, CLONE_NEWNET))
    finally:
        os.close(home)


def attached() -> str:
    """Return what anybody has put on interfaces of the namespace: XDP programs, qdiscs that filter."""
    links = [line for line in ip("-d", "link", "show").splitlines() if "prog/xdp" in line]
    output = subprocess.run(["tc", "qdisc", "show"], check=True, stdout=subprocess.PIPE, text=True).stdout
    qdiscs = [line for line in output.splitlines() if "clsact" in line or "ingress" in line]
    return "\n".join(links + qdiscs)


def ip(*words: str) -> str:
    """Run ip(8) in the namespace of the calling thread. Returns its output."""
    return subprocess.run(["ip", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def veth(first: str = "va", second: str = "vb", *, index: int = 0) -> tuple[int, int]:
    """Make a pair of interfaces, each the other's far end; return their indexes. ``index``: the second's."""
    number = ["index", str(index)] if index else []
    ip("link", "add", second, *number, "type", "veth", "peer", "name", first)
    for name in (first, second):
        ip("link", "set", name, "up")
    # The first one's queue is set up in the background, once the second is there; before, it drops.
    deadline = time.monotonic() + 30
    for name in (first, second):
        while "qdisc noop " in ip("-o", "link", "show", "dev", name):
            assert time.monotonic() < deadline, f"{name} never came up"
            time.sleep(0.001)
    return socket.if_nametoindex(first), socket.if_nametoindex(second)


@contextlib.contextmanager
def tun(name: str = "tun7", kind: int = IFF_TUN) -> Iterator[int]:
    """Create an interface without a link header (IFF_TAP: with Ethernet's). Frames written to the
    descriptor are received on it."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH14x", name.encode(), kind | IFF_NO_PI))
        ip("link", "set", name, "up")
        yield fd
    finally:
        os.close(fd)


def _ethertype(packet: bytes) -> int:
    return ETH_P_IP if packet[0] >> 4 == 4 else ETH_P_IPV6


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def totals(result: Result, interface: str = "vb") -> dict[str, tuple[int, int]]:
    """Return the whole run's (packets, bytes) by protocol."""
    assert result.status == 0, result.err
    assert not result.of("loss")
    return {
        r["protocol"]: (r["packets"], r["bytes"]) for r in result.of("summary") if r["interface"] == interface
    }
