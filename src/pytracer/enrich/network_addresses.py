"""Internet addresses."""

from __future__ import annotations

import socket

_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2


def address(value: bytes) -> str:
    """Decode an address of 16 bytes, or without its trailing NULs: ``2001:db8::1``; ``192.0.2.1`` if
    mapped."""
    value = value.ljust(16, b"\0")
    if value.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, value[12:16])
    return socket.inet_ntop(socket.AF_INET6, value[:16])
