"""Network namespaces of the benchmark: they carry only its own traffic."""

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
    """Put the calling thread into a new network namespace for a while.

    ``links`` are what "ip link" is to do there, one command each. Raises MissingPeerError where none can be
    made."""
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
