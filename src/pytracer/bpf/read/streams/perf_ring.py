"""The ring of one perf event: a page with positions, and a power of two of pages with records."""

from __future__ import annotations

import mmap
import os
from typing import NamedTuple

from pytracer.arrays import Array, np
from pytracer.bpf.attach.perf import ATTR_SIZE
from pytracer.bpf.read.streams.records import MemoryBarrier, record_offsets
from pytracer.bpf.sys import perf_event_open

LOST = 2  # PERF_RECORD_LOST
_HEAD = 1024  # struct perf_event_mmap_page: data_head; data_tail follows


class PerfRecords(NamedTuple):
    """Whole records as the kernel wrote them: ``data`` (uint8), and of each record its position in multiples
    of 8 (``places``), its type (``kinds``) and its size in bytes (``sizes``), shape (n,)."""

    data: Array
    places: Array
    kinds: Array
    sizes: Array

    @property
    def times(self) -> Array:
        """The time of each record: its last word, if the event has sample_id_all with the time last in it."""
        times: Array = self.data.view(np.uint64)[self.places + self.sizes // 8 - 1]
        return times

    @property
    def lost(self) -> int:
        """The number of lost records that these records report."""
        words = self.data.view(np.uint64)  # a header, an id, how many
        return sum(int(words[position + 2]) for position in self.places[self.kinds == LOST])


class PerfRing:
    """A perf event on one CPU, and its ring."""

    def __init__(self, attr: bytes, cpu: int, size: int) -> None:
        """Open the event of this struct perf_event_attr with ``size`` bytes (a power of two of pages) for
        records. Raises OSError."""
        self.fd = perf_event_open(attr.ljust(ATTR_SIZE, b"\0"), -1, cpu)
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._size = size
        self._fence = MemoryBarrier()
        try:
            self._map = mmap.mmap(
                self.fd, self._page + size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE
            )
        except BaseException:
            os.close(self.fd)
            raise
        # data_head, written by the kernel, and data_tail, written by the reader. Both need single accesses:
        # struct.pack_into clears the place first, and the kernel would take the 0 for free room.
        self._positions = np.frombuffer(self._map, dtype=np.uint64, count=2, offset=_HEAD)

    @property
    def waiting(self) -> int:
        """The number of bytes of unread records."""
        head, tail = map(int, self._positions)
        self._fence()
        return head - tail

    def read(self, count: int) -> tuple[PerfRecords, int]:
        """Read the whole records in the next ``count`` bytes, at most ``waiting``, and release their room.

        Returns the records and how many bytes they took; 0 if the first is longer than that.
        """
        tail = int(self._positions[1])
        start = tail % self._size
        begin = self._page + start
        raw = self._map[begin : begin + min(count, self._size - start)]
        raw += self._map[self._page : self._page + count - len(raw)]
        data = np.frombuffer(raw, dtype=np.uint8, count=count // 8 * 8)
        kinds = data.view(np.uint32)[::2]  # struct perf_event_header: u32 type; u16 misc, size
        sizes = data.view(np.uint16)[3::4].astype(np.intp)
        step = sizes // 8
        step[np.arange(len(step)) + step > len(step)] = 0  # the data ends within this record
        places, end = record_offsets(step)
        self._fence()
        self._positions[1] = tail + end * 8
        return PerfRecords(data[: end * 8], places, kinds[places], sizes[places]), end * 8

    def close(self) -> None:
        """Unmap the ring and close the event."""
        del self._positions
        self._map.close()
        os.close(self.fd)
