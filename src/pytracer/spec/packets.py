"""What the tracers that count packets share; probes_c/include/packet.h."""

from __future__ import annotations

from pytracer.spec.columns import Column, Key, Unit
from pytracer.spec.hooks import Alternative, Hook, SocketFilter
from pytracer.spec.network import Clsact, Tcx, Xdp, XdpNetlink
from pytracer.spec.options import PacketFilter
from pytracer.spec.outputs import Table

SOCKET = Hook("packet", "packets pass", (Alternative("socket-filter", (SocketFilter("count"),)),))
"""A packet is shown to packet sockets (``count``), where captures are made."""

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

KEYS = (
    Key("interface", (Column("interface", "the interface", decode="interface"),)),
    Key("protocol", (Column("protocol", "what the packet carries", decode="packet_protocol"),)),
)
ROWS = Table(
    "rows",
    (
        Column("packets", "packets", unit=Unit.COUNT),
        Column("bytes", "bytes, link header included", unit=Unit.BYTES),
    ),
    sort="bytes",
)
WAYS = ("in", "out", "both")
WHICH_WAY = "which packets: those that come in, go out, or both"


def packet_filter(*, frames: bool = False) -> PacketFilter:
    """``--filter EXPR``."""
    return PacketFilter("filter", "only packets that match, in tcpdump's language", frames=frames)
