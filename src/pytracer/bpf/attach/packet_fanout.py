"""A group of packet sockets; a program selects the one that gets a packet.

The kernel gives the group a unique number. The group ends with the last of its
sockets, however the process ends. The sockets keep no packets: the program has already seen them.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

from pytracer.bpf.attach import socket_filter
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link, attach_each
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.attach.socket_filter import NEEDED, SocketLink
from pytracer.bpf.prober import FeatureProber, report_unsupported
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import load, return_code
from pytracer.errors import AttachError
from pytracer.features.table.hook_features import PACKET_FANOUT
from pytracer.kernel import interface_state
from pytracer.kernel.facts import Support
from pytracer.spec import PacketFanout

SOL_PACKET = 263
_FANOUT, _FANOUT_DATA = 18, 22  # PACKET_FANOUT, PACKET_FANOUT_DATA
_BY_PROGRAM, _UNIQUE = 7, 0x2000  # PACKET_FANOUT_EBPF, PACKET_FANOUT_FLAG_UNIQUEID


def check_support(probe: PacketFanout, prober: FeatureProber) -> Support:
    """Test whether the kernel has such groups, on a socket that is in none.

    A kernel that has them answers EINVAL.
    """
    answer = socket_filter.check_support(probe, prober)
    if answer.is_supported and answer.was_tried:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as packets:
            try:
                packets.setsockopt(SOL_PACKET, _FANOUT_DATA, struct.pack("i", -1))
            except OSError as error:
                if error.errno != errno.EINVAL:
                    return report_unsupported(error, PACKET_FANOUT.absence)
    return answer


def load_attributes(_: PacketFanout) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.SOCKET_FILTER, result=0)


def attach(_: PacketFanout, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: ``target.members`` sockets for each interface."""
    drop_program = load(ProgType.SOCKET_FILTER, return_code(0))
    try:
        return attach_each(
            target.interfaces,
            lambda index, name: join_group(index, name, program, drop_program, target.members),
        )
    finally:
        os.close(drop_program)


def join_group(
    interface: int, name: str, program: int, keep_program: int, members: int
) -> Iterator[SocketLink]:
    """Yield the sockets of a group on the interface of this index (0: all), each as it is made.

    ``program`` returns the index of the socket that gets a packet, modulo their number; ``keep_program`` is
    the filter of each socket.
    """
    number = None  # not 0, which is a valid number
    for member in range(members):
        link = SocketLink(socket_filter.attach_to_socket(interface, keep_program), place=name)
        yield link  # whoever has it closes it, if what follows fails
        try:
            number = _join(link.fd, number, program)
        except OSError as error:
            if error.errno == errno.EINVAL and interface and not interface_state.is_up(name):
                # Kernels refuse sockets that do not run; later ones let them join (fanout_add).
                raise AttachError(
                    f"{name} is down: no fanout group can be made on it", hint=f"ip link set {name} up"
                ) from error
            raise make_attach_error(error, f"a fanout group on {name}", capabilities=NEEDED) from error
        if member == 0:
            link.description = f"{members} packet sockets of fanout group {number}"


def _join(descriptor: int, number: int | None, program: int) -> int:
    """Make a socket join the group of this number (None: a new one). Returns the number. Raises OSError."""
    with socket_filter.borrow_socket(descriptor) as packets:
        kind = _BY_PROGRAM | _UNIQUE if number is None else _BY_PROGRAM
        packets.setsockopt(SOL_PACKET, _FANOUT, struct.pack("I", kind << 16 | (number or 0)))
        if number is None:
            packets.setsockopt(SOL_PACKET, _FANOUT_DATA, struct.pack("i", program))
        return packets.getsockopt(SOL_PACKET, _FANOUT) & 0xFFFF
