"""Measure cost against size: the cost of one more event, key or process when there are many."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench import growth
from bench.cost import run_pytracer
from bench.events import read
from bench.measure import MissingPeerError, Row, in_turns
from bench.work import work
from pytracer.arrays import np
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import MapType, address, bpf, map_create

ROUNDS = 3
_PIDS_SHARE = 0.9  # of all process ids, for the processes of the work: others live here, too


def events(power_max: int) -> Iterator[Row]:
    """Measure the reader's CPU time for an event."""
    for power in range(4, power_max + 1):
        report = read("pytracer", 10**power)
        lost = max(int(report["made"] - report["delivered"]), 0)  # starting and ending makes some, too
        unit = "ns" + (f" ({lost} lost)" if lost else "")
        yield (
            "CPU time of the reader for an event",
            10**power,
            report["cpu"] / report["delivered"] * 1e9,
            unit,
        )


def keys(power_max: int) -> Iterator[Row]:
    """Measure the time to read an entry of a hash map."""
    word = np.dtype(np.uint64)
    for power in range(2, power_max + 1):
        size = 10**power
        fd = map_create(MapType.HASH, 8, 8, size)
        table = Map("keys", fd, MapType.HASH, size, lambda: (word, word))
        _fill(fd, size)
        start = time.perf_counter()
        rows, _ = table.read()
        seconds = time.perf_counter() - start
        assert len(rows) == size
        os.close(fd)
        yield "time to read a map's entry", size, seconds / size * 1e9, "ns"


def _fill(fd: int, size: int) -> None:
    """Add the keys 0 to ``size - 1`` to a map, by BPF_MAP_UPDATE_BATCH (26)."""
    import struct

    numbers = bytearray(np.arange(size, dtype=np.uint64).tobytes())
    pointer = address(numbers)
    bpf(26, struct.pack("QQQQIIQQ", 0, 0, pointer, pointer, size, fd, 0, 0))


def processes(power_max: int) -> Iterator[Row | MissingPeerError]:
    """Measure the CPU time that counting by process adds to a call, the first call of each process
    included."""
    pids = int(Path("/proc/sys/kernel/pid_max").read_text())
    for power in range(power_max + 1):
        count = 10**power
        if count > pids * _PIDS_SHARE:
            yield MissingPeerError(f"{count:,} processes: kernel.pid_max is {pids:,}")
            return
        run = partial(work, "processes", str(count), str(max(1_000_000 // count, 100)))
        bare_times, times = in_turns(ROUNDS, run, partial(_counted, run))
        cost = statistics.median(times) - statistics.median(bare_times)
        yield "processor time of a call counted by process", count, cost, "ns"


def _counted(run: Callable[[], float]) -> float:
    with run_pytracer("syscalls", "--by", "pid", "--max-rows", "300000"):
        return run()


def rows(quick: bool) -> Iterator[Row | MissingPeerError]:
    """Yield all rows. A missing peer ends the rows of one measure."""
    sizes: tuple[tuple[Callable[[int], Iterator[Row | MissingPeerError]], int, int], ...] = (
        (events, 6, 8),
        (keys, 5, 6),
        (processes, 3, 5),
        (growth.functions, 3, 5),
        (growth.programs, 3, 4),
        (growth.cpus, 2, 64),
    )
    for measure, quick_max, full_max in sizes:
        try:
            yield from measure(quick_max if quick else full_max)
        except MissingPeerError as missing:
            yield missing
