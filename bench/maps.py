"""Reading a map of many entries, and emptying it."""

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
    """Compare with BCC's ``items()`` and, where the map is emptied, with BCC's equivalent, on the same
    map."""
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
        same = Map("counts", table.map_fd, MapType.HASH, 2 * ENTRIES, lambda: (word, word))
        expected = int(values.sum())

        def ours() -> float:
            begun = time.perf_counter()
            _, found = same.read()
            taken = time.perf_counter() - begun
            assert int(found.sum()) == expected
            return taken

        def items() -> float:
            begun = time.perf_counter()
            total = sum(value.value for _, value in table.items())
            taken = time.perf_counter() - begun
            assert total == expected
            return taken

        def take() -> float:
            fill()
            begun = time.perf_counter()
            _, found = same.drain()
            taken = time.perf_counter() - begun
            assert int(found.sum()) == expected
            assert same.is_empty
            return taken

        def items_taken() -> float:
            fill()
            begun = time.perf_counter()
            total = sum(value for _, value in table.items_lookup_and_delete_batch())
            taken = time.perf_counter() - begun
            assert total == expected
            assert same.is_empty
            return taken

        mine, peer = in_turns(rounds, ours, items)
        what = f"reading {ENTRIES} map entries"
        yield result("map-read", what, "BCC items()", mine, peer, target=0.06, unit="s")
        what = f"reading {ENTRIES} map entries and emptying the map"
        mine, peer = in_turns(rounds, take, items_taken)
        name = "BCC items_lookup_and_delete_batch()"
        yield result("map-take", what, name, mine, peer, target=None, unit="s")
    except ImportError as error:
        yield MissingPeerError(f"map-read: {error}")
