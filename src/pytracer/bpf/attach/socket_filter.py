"""A filter on a raw packet socket (SO_ATTACH_BPF)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link, attach_each
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber, report_unsupported, report_untried
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import EMPTY
from pytracer.kernel import policy
from pytracer.kernel.facts import Support
from pytracer.spec import Probe, SocketFilter

ETH_P_ALL = 3
SO_ATTACH_BPF = 50
NEEDED = ("CAP_NET_RAW",)
_PROC_SYS = Path("/proc/sys")
_PACKET = Path("/proc/net/packet")

_libc = ctypes.CDLL(None, use_errno=True)


def check_support(_: Probe, prober: FeatureProber) -> Support:
    """Test whether a program can filter a packet socket."""
    if prober.missing_capabilities or policy.missing_capabilities(NEEDED):
        return report_untried("")
    try:
        prober.program(ProgType.SOCKET_FILTER, EMPTY)
    except OSError as error:
        return report_unsupported(error, "this kernel has no socket filters")
    if _PROC_SYS.is_dir() and not _PACKET.exists():
        return Support(False, reason="this kernel has no packet sockets (CONFIG_PACKET)")
    return Support(True)


def load_attributes(_: SocketFilter) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.SOCKET_FILTER, result=0)


def attach(_: SocketFilter, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: one for each interface."""
    return attach_each(
        target.interfaces, lambda index, name: [SocketLink(attach_to_socket(index, program), place=name)]
    )


class SocketLink(Link):
    """A packet socket with the program as its filter."""

    @property
    def poll_detached(self) -> str:
        """See :class:`Link`."""
        return socket_error(self.fd)

    @property
    def is_over(self) -> bool:
        """See :class:`Link`."""
        return not is_bound(self.fd)


def attach_to_socket(interface: int, program: int) -> int:
    """Open a packet socket on the interface of this index (0: all), with ``program`` as its filter.

    The socket is created with protocol 0, so it receives nothing before the filter is attached; only then it
    is bound to all protocols.
    """
    try:
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except OSError as error:
        raise make_attach_error(error, "packet socket", capabilities=NEEDED) from error
    try:
        packets.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, struct.pack("i", program))
        _bind(packets, interface)
    except OSError as error:
        packets.close()
        raise make_attach_error(
            error, f"packet socket on {interface or 'any'}", capabilities=NEEDED
        ) from error
    return packets.detach()


def socket_error(descriptor: int) -> str:
    """Return and clear the socket's pending error (SO_ERROR), as text; empty if there is none."""
    with borrow_socket(descriptor) as packets:
        error = packets.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return os.strerror(error).lower() if error else ""


def is_bound(descriptor: int) -> bool:
    """Return whether the socket is still bound to its interface: False once the interface is removed."""
    with borrow_socket(descriptor) as packets:
        name = packets.getsockname()[0]
    return bool(name)


@contextlib.contextmanager
def borrow_socket(descriptor: int) -> Iterator[socket.socket]:
    """Yield a socket object for a descriptor, and leave the descriptor open."""
    packets = socket.socket(fileno=descriptor)
    try:
        yield packets
    finally:
        packets.detach()


def _bind(packets: socket.socket, interface: int) -> None:
    # Not socket.bind: Python looks an interface up by name, and so cannot bind to all of them.
    address = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(ETH_P_ALL), interface, 0, 0, 0)
    if _libc.bind(packets.fileno(), address, len(address)) < 0:  # struct sockaddr_ll
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
