"""Make network namespaces that carry only the benchmark's traffic."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence

from bench.measure import MissingPeerError

CLONE_NEWNET = 0x40000000
VETH = ("add far type veth peer name near", "set near up", "set far up")
"""Packets sent by ``far`` are received by ``near``."""
LOOPBACK = ("set lo up",)


@contextlib.contextmanager
def network(links: Sequence[str]) -> Iterator[None]:
    """Move the calling thread to a new network namespace until the block ends.

    ``links`` are the arguments of "ip link" commands that run there. Raises MissingPeerError if no namespace
    can be made.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            raise MissingPeerError("no network namespace can be made")
        try:
            for words in links:
                subprocess.run(["ip", "link", *words.split()], check=True)
            yield
        finally:
            libc.setns(home, CLONE_NEWNET)
    finally:
        os.close(home)
