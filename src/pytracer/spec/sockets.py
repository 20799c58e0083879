"""Columns for sockets of any family."""

from __future__ import annotations

from pytracer.spec.columns import Column

_UNKNOWN = b"\xff" * 16
SOCKET_ENDS = (
    Column("family", "IPv4, IPv6, unix, netlink, ...", decode="socket_family", width=7),
    Column("type", "stream, dgram, ...", field="socket_type", decode="socket_type", width=6, wide=True),
    Column("protocol", "of IP, or of netlink", decode="socket_protocol", width=8),
    Column("state", "by the names of TCP's, whatever it is", decode="tcp_state", null=-1, width=11),
    Column("saddr", "address of this end", decode="address", null=_UNKNOWN, width=15),
    Column("sport", "port of this end; netlink's port id", null=-1, width=5),
    Column("daddr", "address of the other end", decode="address", null=_UNKNOWN, width=15),
    Column("dport", "port of the other end", null=-1, width=5),
    Column("name", "a unix socket's path, or @ and its abstract name", decode="text", width=20),
    Column("peer_name", "that of the other end", label="PEER", decode="text", width=20),
)
"""Columns of a socket: both ends and the state; probes_c/include/socket_ends.h."""
