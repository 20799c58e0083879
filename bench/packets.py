"""Measure the cost of `sockcount` for a packet.

The cost is the small difference of two large times, and a machine's speed changes by more from one second to
the next. So one process sends to three networks, a few packets at a time in turns: one without a program, one
with `sockcount`, one with an empty filter. Each cost is the median of the differences within a turn.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Iterator

from bench.cost import Tracing, run_pytracer
from bench.frames import empty
from bench.measure import MissingPeerError, Result, result
from bench.namespaces import LOOPBACK, network
from bench.work import lanes
from pytracer.spec import SocketFilter

PACKETS = 400_000  # to each network


@contextlib.contextmanager
def watched(tracer: Tracing) -> Iterator[str]:
    """Make a network namespace with a tracer in it.

    Yields its path; the caller stays in its own namespace.
    """
    with contextlib.ExitStack() as stack:
        with network(LOOPBACK):
            stack.enter_context(tracer)
            namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, namespace)
        yield f"/proc/{os.getpid()}/fd/{namespace}"


def costs() -> tuple[float, float, float]:
    """Return nanoseconds for a packet: the bare work, and what sockcount and an empty filter add to it."""
    with (
        watched(contextlib.nullcontext()) as bare,
        watched(run_pytracer("sockcount", "lo")) as traced,
        watched(empty(SocketFilter(""), "", "lo")) as floor,
    ):
        blocks = lanes(PACKETS, bare, traced, floor, cpu=0)
    work_times, *other_times = zip(*blocks, strict=True)
    cost, floor_cost = (
        statistics.median(b - a for a, b in zip(work_times, other, strict=True)) for other in other_times
    )
    return statistics.median(work_times), cost, floor_cost


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure sockcount beside an empty socket filter."""
    try:
        bare, traced_costs, floor_costs = zip(*(costs() for _ in range(rounds)), strict=True)
        yield result(
            "cost-packet",
            "what `sockcount` costs a packet",
            "an empty socket filter",
            traced_costs,
            floor_costs,
            target=1.2,
            unit="ns",
            note=f"the bare work takes {statistics.median(bare):.0f} ns",
        )
    except MissingPeerError as missing:
        yield MissingPeerError(f"cost-packet: {missing}")
