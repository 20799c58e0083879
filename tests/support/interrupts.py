"""Raise interrupts, of which a program sees a known number."""

from __future__ import annotations

import os
import socket

from support.cpu_contention import LAB

SEEN = 1 if LAB else 0.5
"""The share that is seen: on a host, a policy may keep programs from running while some of its own tasks are
current."""


def make_interrupts() -> None:
    """Read a file from the disk (or from the host), and send datagrams to ourselves."""
    with open(os.path.realpath("/proc/self/exe"), "rb", buffering=0) as file:
        for _ in range(5):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(0)
            while file.read(1 << 20):
                pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        for _ in range(101):
            receiver.sendto(b"x", receiver.getsockname())
            receiver.recv(1)
