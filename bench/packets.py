"""Measure the cost of `sockcount` for a packet.

It is the small difference of two large times, and a machine's speed changes by more from one second to the
next. So one process sends to three networks a few packets at a time in turns: one without a program, one
where `sockcount` counts, one with an empty filter; each cost is the median of the differences of neighbours.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Iterator

from bench.cost import Held, ours
from bench.frames import empty
from bench.measure import MissingPeerError, Result, result
from bench.namespaces import LOOPBACK, network
from bench.work import lanes
from pytracer.spec import SocketFilter

PACKETS = 400_000  # to each network


@contextlib.contextmanager
def watched(by: Held) -> Iterator[str]:
    """Make a network with traffic in it. Yields the path of its namespace; the caller stays in its own."""
    with contextlib.ExitStack() as stack:
        with network(LOOPBACK):
            stack.enter_context(by)
            namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, namespace)
        yield f"/proc/{os.getpid()}/fd/{namespace}"


def costs() -> tuple[float, float, float]:
    """Return nanoseconds for a packet: the bare work, what sockcount adds to it, what an empty filter
    adds."""
    with (
        watched(contextlib.nullcontext()) as bare,
        watched(ours("sockcount", "lo")) as counted,
        watched(empty(SocketFilter(""), "", "lo")) as floor,
    ):
        blocks = lanes(PACKETS, bare, counted, floor, cpu=0)
    work, *others = zip(*blocks, strict=True)
    mine, least = (statistics.median(b - a for a, b in zip(work, other, strict=True)) for other in others)
    return statistics.median(work), mine, least


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure sockcount beside an empty socket filter."""
    try:
        bare, mine, floor = zip(*(costs() for _ in range(rounds)), strict=True)
        yield result(
            "cost-packet",
            "what `sockcount` costs a packet",
            "an empty socket filter",
            mine,
            floor,
            target=1.3,
            unit="ns",
            note=f"the bare work takes {statistics.median(bare):.0f} ns",
        )
    except MissingPeerError as missing:
        yield MissingPeerError(f"cost-packet: {missing}")
