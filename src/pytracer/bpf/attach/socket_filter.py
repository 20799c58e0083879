"""A filter on a raw packet socket (SO_ATTACH_BPF, Linux 3.19)."""

from __future__ import annotations

import socket
import struct

from pytracer.bpf.refusal import attach_error

ETH_P_ALL = 3
SO_ATTACH_BPF = 50


def attach(interface: int, program: int) -> int:
    """A packet socket on the interface of this index (0: all), with ``program`` as its filter.

    The socket is made for no protocol, and so sees nothing before the filter is on it; only then it is
    bound to all protocols.
    """
    try:
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except OSError as error:
        raise attach_error(error, "packet socket") from error
    try:
        packets.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, struct.pack("i", program))
        packets.bind(_address(interface))
    except OSError as error:
        packets.close()
        raise attach_error(error, f"packet socket on {interface or 'any'}") from error
    return packets.detach()


def _address(interface: int) -> tuple[str, int]:
    # An empty name binds to all interfaces; Python resolves other names to the index itself.
    return (socket.if_indextoname(interface) if interface else "", ETH_P_ALL)
