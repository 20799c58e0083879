"""Measure what memleak adds to an allocation of a program, in nanoseconds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

from bench.measure import MissingPeerError, Result, in_turns, result
from bench.peers import PYTRACER
from bench.work import work

BLOCKS = 200_000
WHAT = "what memleak costs a block that is allocated and freed"


def _blocks(*words: str) -> Callable[[], float]:
    """Return a benchmark that measures the time for a block: bare, or under memleak with these options."""
    command = [*PYTRACER, *words, "-o", "/dev/null", "--"] if words else []
    return lambda: work("allocations", str(BLOCKS), cpu=0, prefix=command)


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure memleak that records every block, beside one of a hundred."""
    try:
        bare, every_block, sampled = in_turns(
            rounds, _blocks(), _blocks("memleak"), _blocks("memleak", "--sample", "100")
        )
    except MissingPeerError as missing:
        yield missing
        return
    every_block_costs, sampled_costs = (
        [a - b for a, b in zip(times, bare, strict=True)] for times in (every_block, sampled)
    )
    note = f"the bare work takes {statistics.median(bare):.0f} ns"
    yield result(
        "memleak",
        WHAT,
        "the same with --sample 100",
        every_block_costs,
        sampled_costs,
        target=None,
        unit="ns",
        note=note,
    )
