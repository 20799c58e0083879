"""Measure cost against size: the cost of one more event, key or process when there are many."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

from bench.cost import ours
from bench.events import read
from bench.measure import MissingPeerError, in_turns
from bench.work import work
from pytracer.arrays import np
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import MapType, address, bpf, map_create

ROUNDS = 3
Row = tuple[str, int, float, str]
"""(what, how many, what one takes, the unit)."""


def events(most: int) -> Iterator[Row]:
    """Return the reader's CPU time for an event."""
    for power in range(4, most + 1):
        taken = read("ours", 10**power)
        lost = max(int(taken["made"] - taken["delivered"]), 0)  # starting and ending makes some, too
        unit = "ns" + (f" ({lost} lost)" if lost else "")
        yield "CPU time of the reader for an event", 10**power, taken["cpu"] / taken["delivered"] * 1e9, unit


def keys(most: int) -> Iterator[Row]:
    """Return the time to read an entry of a hash."""
    word = np.dtype(np.uint64)
    for power in range(2, most + 1):
        size = 10**power
        fd = map_create(MapType.HASH, 8, 8, size)
        table = Map("keys", fd, MapType.HASH, size, lambda: (word, word))
        _fill(fd, size)
        begun = time.perf_counter()
        found, _ = table.read()
        taken = time.perf_counter() - begun
        assert len(found) == size
        os.close(fd)
        yield "time to read a map's entry", size, taken / size * 1e9, "ns"


def _fill(fd: int, size: int) -> None:
    """Fill in all keys from 0 on, by BPF_MAP_UPDATE_BATCH (26)."""
    import struct

    numbers = bytearray(np.arange(size, dtype=np.uint64).tobytes())
    place = address(numbers)
    bpf(26, struct.pack("QQQQIIQQ", 0, 0, place, place, size, fd, 0, 0))


def processes(most: int) -> Iterator[Row]:
    """Measure the cost of a call that is counted by process, with many processes: processor time, first calls
    included."""
    for power in range(most + 1):
        count = 10**power
        take = partial(work, "processes", str(count), str(max(1_000_000 // count, 100)))
        bare, taken = in_turns(ROUNDS, take, partial(_counted, take))
        cost = statistics.median(taken) - statistics.median(bare)
        yield "processor time of a call counted by process", count, cost, "ns"


def _counted(take: Callable[[], float]) -> float:
    with ours("syscalls", "--by", "pid", "--max-rows", "100000"):
        return take()


def rows(quick: bool) -> Iterator[Row | MissingPeerError]:
    """Yield all rows; an error ends the rows of its kind."""
    sizes: tuple[tuple[Callable[[int], Iterator[Row]], int, int], ...] = (
        (events, 6, 8),
        (keys, 5, 6),
        (processes, 3, 4),
    )
    for measure, few, many in sizes:
        try:
            yield from measure(few if quick else many)
        except MissingPeerError as missing:
            yield missing
