"""Make TCP connections in a network namespace of the test's own, and read the kernel's counts of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cli import start, stop

V4, V6 = (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")
STATE_ALTERNATIVES = [pytest.param("raw-tracepoint", marks=pytest.mark.smoke), "tracepoint", "kprobe"]
"""Of the hook tcp_state."""
_HERE = Path("/proc/thread-self")


def pair(family: int, host: str) -> tuple[socket.socket, socket.socket]:
    """Return a connection on the loopback: the end that connected, the end that was accepted."""
    with socket.create_server((host, 0), family=family) as listener:
        client = socket.socket(family)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        return client, server


def ends(end: socket.socket) -> dict[str, Any]:
    """Return a socket's own addresses and ports, as tracers show them."""
    (saddr, sport), (daddr, dport) = end.getsockname()[:2], end.getpeername()[:2]
    return {"saddr": saddr, "sport": sport, "daddr": daddr, "dport": dport}


def connection_key(event: dict[str, Any]) -> tuple[Any, ...]:
    """Return the ends of a connection, or of an event, to compare."""
    return tuple(event[name] for name in ("saddr", "sport", "daddr", "dport"))


def resetting(end: socket.socket) -> None:
    """Close it without a farewell."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def inode() -> int:
    """Return the inode number of the test's network namespace."""
    return (_HERE / "ns/net").stat().st_ino


def comm() -> str:
    """Return the name of the test's thread."""
    return (_HERE / "comm").read_text().rstrip("\n")


def counters() -> dict[str, int]:
    """Return the kernel's own counts in the namespace that the test is in: ``Tcp.ActiveOpens``, ..."""
    counts = {}
    for name in ("snmp", "netstat"):
        lines = (_HERE / "net" / name).read_text().splitlines()
        for heads, values in zip(lines[::2], lines[1::2], strict=True):
            group, *names = heads.replace(":", "").split()
            counts.update(
                zip((f"{group}.{counter}" for counter in names), map(int, values.split()[1:]), strict=True)
            )
    return counts


@contextlib.contextmanager
def record_events(tracer: str, *words: object) -> Iterator[list[dict[str, Any]]]:
    """Yield the events of the block in the namespace, as a list that is filled at the end."""
    process = start(tracer, "-f", "json", "-d", 60, "--netns", "/proc/self/ns/net", *words)
    events: list[dict[str, Any]] = []
    try:
        yield events
    finally:
        result = stop(process)
    assert result.status == 0, result.err
    assert not result.of("loss")
    events += result.of("event")


def own_process() -> tuple[int, str]:
    """Return the process id and name that events of the test's own sockets have."""
    return os.getpid(), comm()


SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27  # include/uapi/asm-generic/socket.h
_DROP = [(0x06, 0, 0, 0)]  # ret #0


def _drop_from(first: int) -> list[tuple[int, int, int, int]]:
    """Return instructions that drop segments whose data begins with this byte."""
    return [
        (0x30, 0, 0, 12),  # ldb [12]: the length of the header, in its upper half
        (0x54, 0, 0, 0xF0),  # and #0xf0
        (0x74, 0, 0, 2),  # rsh #2
        (0x07, 0, 0, 0),  # tax
        (0x50, 0, 0, 0),  # ldb [x + 0]
        (0x15, 0, 1, first),  # jeq
        (0x06, 0, 0, 0),  # ret #0
        (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1
    ]


@contextlib.contextmanager
def dropping_segments(end: socket.socket, first: int | None = None) -> Iterator[None]:
    """Let the kernel drop each segment for a socket, or each whose data begins with these bytes."""
    code = _DROP if first is None else _drop_from(first)
    memory = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in code))
    end.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxQ", len(code), ctypes.addressof(memory))
    )
    try:
        yield
    finally:
        end.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def tcp_info(end: socket.socket) -> dict[str, int]:
    """Return the kernel's TCP_INFO of a connection."""
    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    places = {
        "rtt": ("I", 68),
        "total_retrans": ("I", 100),
        "bytes_received": ("Q", 128),
        "segs_in": ("I", 140),
    }
    return {name: struct.unpack_from(kind, info, offset)[0] for name, (kind, offset) in places.items()}
