"""Test whether a network interface is up, without the imports that sockets take: start-up is faster."""

from __future__ import annotations

import os
import struct

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def is_up(name: str) -> bool:
    """Return whether an interface is up; True if its state is unknown (it was removed)."""
    try:
        return bool(_change_flags(name) & _IFF_UP)
    except OSError:
        return True


def set_up(name: str) -> None:
    """Bring an interface up. Raises OSError."""
    _change_flags(name, _change_flags(name) | _IFF_UP)


def _change_flags(name: str, new: int | None = None) -> int:
    """Return the flags of an interface, or set them."""
    import fcntl  # not before an interface is asked about: every link of every kind imports this
    import socket

    request = struct.pack("16sH22x", os.fsencode(name), new or 0)  # struct ifreq
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _SIOCGIFFLAGS if new is None else _SIOCSIFFLAGS, request)
    return int(struct.unpack_from("=H", answer, 16)[0])
