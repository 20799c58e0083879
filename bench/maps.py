"""Measure how long it takes to read a map with many entries, and to empty it."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator

from bench.measure import MissingPeerError, Result, in_turns, result
from pytracer.arrays import np
from pytracer.bpf.compile.headers import find_headers
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import MapType
from pytracer.bpf.toolchain import import_bcc

ENTRIES = 200_000
TEXT = f"BPF_HASH(counts, u64, u64, {2 * ENTRIES}); int unused(void *ctx) {{ return 0; }}"


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure reading and draining a map, beside BCC's methods on the same map."""
    try:
        os.environ["BCC_KERNEL_SOURCE"] = str(find_headers(TEXT).path)
        program = import_bcc().BPF(text=TEXT.encode())
        table = program[b"counts"]
        keys = np.arange(ENTRIES, dtype=np.uint64)
        values = keys * 3
        pointers = [(ctypes.c_ulonglong * ENTRIES).from_buffer(array.data) for array in (keys, values)]

        def fill() -> None:
            table.items_update_batch(*pointers)

        fill()
        word = np.dtype(np.uint64)
        bpf_map = Map("counts", table.map_fd, MapType.HASH, 2 * ENTRIES, lambda: (word, word))
        expected = int(values.sum())

        def read() -> float:
            start = time.perf_counter()
            _, entries = bpf_map.read()
            seconds = time.perf_counter() - start
            assert int(entries.sum()) == expected
            return seconds

        def bcc_items() -> float:
            start = time.perf_counter()
            total = sum(value.value for _, value in table.items())
            seconds = time.perf_counter() - start
            assert total == expected
            return seconds

        def drain() -> float:
            fill()
            start = time.perf_counter()
            _, entries = bpf_map.drain()
            seconds = time.perf_counter() - start
            assert int(entries.sum()) == expected
            assert bpf_map.is_empty
            return seconds

        def bcc_drain() -> float:
            fill()
            start = time.perf_counter()
            total = sum(value for _, value in table.items_lookup_and_delete_batch())
            seconds = time.perf_counter() - start
            assert total == expected
            assert bpf_map.is_empty
            return seconds

        pytracer_times, peer_times = in_turns(rounds, read, bcc_items)
        description = f"reading {ENTRIES} map entries"
        yield result(
            "map-read", description, "BCC items()", pytracer_times, peer_times, target=0.06, unit="s"
        )
        description = f"reading {ENTRIES} map entries and emptying the map"
        pytracer_times, peer_times = in_turns(rounds, drain, bcc_drain)
        name = "BCC items_lookup_and_delete_batch()"
        yield result("map-take", description, name, pytracer_times, peer_times, target=None, unit="s")
    except ImportError as error:
        yield MissingPeerError(f"map-read: {error}")
