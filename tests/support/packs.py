"""What the tests put into packs: of each tracer the lines that they run."""

from __future__ import annotations

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
    "opensnoop -- true",
    "tcptracer --netns /proc/self/ns/net",
    "biolatency --by disk,operation",
    "profile -- true",
    "openfiles -p 1",
    "tasks -p 1",
)
