"""Decode where the time of threads goes: classes, and what a thread waits for (probes_c/include/waits.h)."""

from __future__ import annotations

import struct

from pytracer.enrich.network_addresses import address
from pytracer.enrich.strings import text

CLASSES = (
    "user",
    "kernel",
    "runnable",
    "disk",
    "network",
    "lock",
    "sleep",
    "fault",
    "pipe",
    "events",
    "child",
    "stopped",
    "other",
)
"""By number: enum pt_class."""
_WHERE = struct.Struct("=II16s")
_NAME, _PEER, _PORT, _UNIX, _PIPE, _LOCK = range(1, 7)


def wait_class(number: int) -> str:
    """Return the name of a class of time."""
    return CLASSES[number] if 0 <= number < len(CLASSES) else f"unknown:{number}"


def wait_where(value: bytes) -> str:
    """Return the file, other end, port, pipe or lock that a thread waits for; "" if there is none."""
    kind, port, number = _WHERE.unpack_from(value.ljust(_WHERE.size, b"\0"))
    if kind == _NAME:
        return str(text(value[_WHERE.size :].partition(b"\0")[0]))
    if kind == _PEER:
        host = address(number)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if kind == _PORT:
        return f"port {port}"
    first = int.from_bytes(number[:8], "little")
    return {_UNIX: "unix socket", _PIPE: f"pipe:[{first}]", _LOCK: f"{first:#x}"}.get(kind, "")
