"""List the command lines that tests put into packs, by tracer."""

from __future__ import annotations

WITHOUT_TRACE_EVENTS = {"opensnoop": ("--hook", "ring_file=none")}
"""What a tracer is packed and run with, since no pack can hold trace events."""
SYSCALLS = ("syscalls", "syscalls -- true", "syscalls -p 1", "syscalls --latency -- true")
LINES = (
    *SYSCALLS,
    "sockcount",
    "tccount",
    "xdpcount",
    "fanoutcount",
    "packetsnoop",
    "cgroupcount",
    "socksnoop",
    "execsnoop -- true",
    "opensnoop --hook ring_file=none -- true",
    "tcptracer --netns /proc/self/ns/net",
    "biolatency --by disk,operation",
    "profile -- true",
    "openfiles -p 1",
    "tasks -p 1",
)
