"""Internet addresses."""

from __future__ import annotations

import socket

_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2


def address(value: bytes) -> str:
    """16 bytes, or as many of them as do not end in NULs: ``2001:db8::1``; ``192.0.2.1`` where mapped."""
    value = value.ljust(16, b"\0")
    if value.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, value[12:16])
    return socket.inet_ntop(socket.AF_INET6, value[:16])
