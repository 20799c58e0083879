"""Hooks, keys and columns of the tracers that count packets; probes_c/include/packet.h."""

from __future__ import annotations

from pytracer.record import replace
from pytracer.spec.columns import Column, Key, Unit
from pytracer.spec.hooks import Alternative, Hook, Kprobe, RawTracepoint
from pytracer.spec.network import (
    CgroupSkb,
    CgroupSock,
    CgroupSockAddr,
    Clsact,
    OnCgroup,
    PacketFanout,
    SocketFilter,
    Tcx,
    Xdp,
    XdpNetlink,
)
from pytracer.spec.options import PacketFilter
from pytracer.spec.outputs import Table

SOCKET = Hook("packet", "packets pass", (Alternative("socket-filter", (SocketFilter("count"),)),))
"""A packet is shown to packet sockets (``count``), where captures are made."""

FANOUT = Hook("fanout", "packets are shared out", (Alternative("packet-fanout", (PacketFanout("choose"),)),))
"""Chooses the packet socket for a packet (``choose``), among those that share an interface."""

TRAFFIC = Hook(
    "traffic",
    "packets pass",
    (Alternative("tcx", (Tcx("count"),)), Alternative("clsact", (Clsact("count"),))),
)
"""A packet is in traffic control (``count``)."""

FRAME = Hook(
    "frame",
    "frames come in",
    (Alternative("xdp-link", (Xdp("count"),)), Alternative("xdp-netlink", (XdpNetlink("count"),))),
)
"""A frame comes in (``count``)."""


def _cgroups(*probes: OnCgroup) -> tuple[Alternative, ...]:
    """Return both alternatives for programs on cgroups."""
    return (
        Alternative("cgroup-link", probes),
        Alternative("cgroup-attach", tuple(replace(probe, link=False) for probe in probes)),
    )


CGROUP_PACKET = Hook(
    "cgroup_packet",
    "packets reach and leave sockets",
    _cgroups(CgroupSkb("incoming", point="ingress"), CgroupSkb("outgoing", point="egress")),
)
"""A packet reaches a socket of a cgroup (``incoming``), or leaves it (``outgoing``)."""

CREATED = Hook("created", "sockets are made", _cgroups(CgroupSock("created", point="create")))
"""A socket is made, in the task that makes it (``created``); probes_c/include/socket_owners.h."""
CREATED_IF_ANY = replace(
    CREATED,
    alternatives=(
        *CREATED.alternatives,
        # Before Linux 5.7 programs on cgroups may not read the task.
        Alternative("kprobe", (Kprobe("created", symbols=("sock_init_data",)),)),
        Alternative("none", ()),
    ),
)
"""The same, for what can do without."""
_DROP_FORMS = {
    "raw-tracepoint-socket": 4,
    "raw-tracepoint-reason": 3,
    "raw-tracepoint": 2,
}  # Linux 6.11, 5.17
DROPPED = Hook(
    "drop",
    "packets are dropped",
    tuple(
        Alternative(form, (RawTracepoint("dropped", event="kfree_skb", arguments=count, preempted=False),))
        for form, count in _DROP_FORMS.items()
    ),
)
"""A packet is dropped (``dropped``), with the socket that it is for, with the reason."""
OWNER = (
    Column("pid", "process that has the socket; none: not known", null=0, width=7),
    Column("comm", "name of its thread", decode="text", null=b"", width=12),
)
PEER = (
    Column("peer", "address of the other end", decode="address", width=15, wide=True),
    Column("port", "port of the other end", width=5, wide=True),
)
"""Columns of a message: the owner of its socket, and the other end of the connection."""

SOCKETS = Hook(
    "sockets",
    "sockets are made, bound, connected and sent by",
    _cgroups(
        CgroupSock("made", point="create"),
        *(CgroupSock(point, point=point) for point in ("bound4", "bound6")),
        *(CgroupSockAddr(point, point=point) for point in ("bind4", "bind6", "connect4", "connect6")),
        *(CgroupSockAddr(f"send{version}", point=f"sendmsg{version}") for version in "46"),
    ),
)
"""A socket is made (``made``), is given an address (``bind4``, ``connect6``, ``send4``, ...), has got one
(``bound4``, ``bound6``)."""

KEYS = (
    Key("interface", (Column("interface", "the interface", decode="interface"),)),
    Key("protocol", (Column("protocol", "what the packet carries", decode="packet_protocol"),)),
)
_DENSE_PROTOCOLS = (6, 17, 1, 58, 0x100, 0x101, 0x102, 0x10806)  # of probes_c/include/packet.h
ROWS = Table(
    "rows",
    (
        Column("packets", "packets", unit=Unit.COUNT),
        Column("bytes", "bytes, link header included", unit=Unit.BYTES),
    ),
    sort="bytes",
    dense="dense",
    dense_codes=_DENSE_PROTOCOLS,
)
PROTOCOL_NOTES = (
    "'other' is any other IP protocol, 'malformed' a packet with headers that are too short. Only the",
    "first 20 bytes of IPv4 are read: no options, checksums, or content of tunnels (GRE, VXLAN, MPLS).",
)
"""The limits of parsing, for the notes of tracers that count by protocol."""
DIRECTIONS = ("in", "out", "both")
DIRECTION_HELP = "which packets: those that come in, go out, or both"


def packet_filter(*, frames: bool = False, raw: bool = False) -> PacketFilter:
    """Return the option ``--filter EXPR``."""
    text = "only packets that match, in tcpdump's language"
    return PacketFilter("filter", text, frames=frames, raw=raw)
