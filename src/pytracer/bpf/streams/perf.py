"""Perf rings, one for each CPU (Linux 4.4), for kernels without the BPF ring buffer.

Each is a page of bookkeeping and a power of two of pages with data. A record that wraps around is put
together again; those of all CPUs are put in order by the time in their first member.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import struct
import time
from typing import NamedTuple

from pytracer.arrays import Array, np
from pytracer.bpf.attach.perf import ATTR_SIZE, DISABLE, ENABLE
from pytracer.bpf.maps import Map
from pytracer.bpf.streams.records import chain, compact, fitting, gather
from pytracer.bpf.sys import perf_event_open
from pytracer.kernel.cpus import online_cpus

# include/uapi/linux/perf_event.h
_SOFTWARE, _BPF_OUTPUT = 1, 10
_SAMPLE_RAW = 1 << 10
_WATERMARK = 1 << 14  # struct perf_event_attr: wake up by bytes, not by events
_HEAD, _TAIL = 1024, 1032  # struct perf_event_mmap_page: data_head, data_tail
_LOST, _SAMPLE = 2, 9
_RAW = 12  # bytes before a sample's data: struct perf_event_header, u32 size

_HELD = 2_000_000  # ns: a record this young may still be overtaken by an older one from another CPU


class _Records(NamedTuple):
    """Records as they came: bytes, and where in them each begins (multiples of 4), and how long it is."""

    data: Array
    offsets: Array
    lengths: Array


_NOTHING = _Records(np.zeros(0, np.uint8), np.zeros(0, np.intp), np.zeros(0, np.intp))


class PerfReader:
    """See :class:`~pytracer.bpf.streams.Reader`."""

    cut = 0
    patience: float | None = 0.05  # a CPU that is not busy does not fill its ring to the mark

    def __init__(self, ring: Map, record: np.dtype[np.void], size: int) -> None:
        """Open a ring of ``size`` / CPUs bytes on every CPU that runs. Raises OSError."""
        self._record = record
        self.lost = 0
        self._kept = _NOTHING
        self._rings: list[_Ring] = []
        self._poll = select.epoll()
        cpus = online_cpus()
        page = os.sysconf("SC_PAGE_SIZE")
        pages = 1 << max(size // len(cpus) // page, 1).bit_length() - 1
        try:
            for cpu in cpus:
                opened = _Ring(cpu, pages * page)
                self._rings.append(opened)
                ring.update(struct.pack("i", cpu), struct.pack("i", opened.fd))
                self._poll.register(opened.fd, select.EPOLLIN)
                fcntl.ioctl(opened.fd, ENABLE, 0)
        except BaseException:
            self.close()
            raise

    @property
    def fileno(self) -> int:
        """See :class:`~pytracer.bpf.streams.Reader`."""
        return self._poll.fileno()

    def read(self, *, last: bool = False) -> Array | None:
        """See :class:`~pytracer.bpf.streams.Reader`."""
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - (0 if last else _HELD)
        parts = [self._kept]
        for ring in self._rings:
            records, lost = ring.read()
            self.lost += lost
            parts.append(records)
        starts = np.cumsum([0, *(len(part.data) for part in parts)])
        data = np.concatenate([part.data for part in parts])
        offsets = np.concatenate([part.offsets + at for part, at in zip(parts, starts, strict=False)])
        lengths = np.concatenate([part.lengths for part in parts])
        if not len(offsets):
            return None
        words = data.view(np.uint32)
        times = np.stack((words[offsets // 4], words[offsets // 4 + 1]), axis=1).view(np.uint64).reshape(-1)
        order = np.argsort(times, kind="stable")
        offsets, lengths = offsets[order], lengths[order]
        count = len(order) if last else int(np.searchsorted(times[order], before))
        count = fitting(lengths[:count])
        found = gather(data, offsets[:count], lengths[:count], self._record) if count else None
        self._kept = _Records(*compact(data, offsets[count:], lengths[count:]), lengths[count:])
        return found

    def close(self) -> None:
        """See :class:`~pytracer.bpf.streams.Reader`."""
        self._poll.close()
        while self._rings:
            self._rings.pop().close()


class _Ring:
    """One CPU's."""

    def __init__(self, cpu: int, size: int) -> None:
        attr = struct.pack(
            "IIQQQQQII", _SOFTWARE, ATTR_SIZE, _BPF_OUTPUT, 1, _SAMPLE_RAW, 0, _WATERMARK, size // 4, 0
        )
        self.fd = perf_event_open(attr.ljust(ATTR_SIZE, b"\0"), -1, cpu)
        page = os.sysconf("SC_PAGE_SIZE")
        self._size = size
        try:
            self._map = mmap.mmap(self.fd, page + size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError:
            os.close(self.fd)
            raise
        self._page = page

    def read(self) -> tuple[_Records, int]:
        """All records that are there, and how many the kernel says it had no room for."""
        head, tail = (struct.unpack_from("Q", self._map, at)[0] for at in (_HEAD, _TAIL))
        start, count = tail % self._size, head - tail
        begin = self._page + start
        raw = self._map[begin : begin + min(count, self._size - start)]
        raw += self._map[self._page : self._page + count - len(raw)]
        struct.pack_into("Q", self._map, _TAIL, head)
        data = np.frombuffer(raw, dtype=np.uint8)
        kinds, sizes = data.view(np.uint32)[::2], data.view(np.uint32)[1::2] >> 16
        places, _ = chain(sizes.astype(np.intp) // 8)
        samples = places[kinds[places] == _SAMPLE]
        offsets = samples * 8 + _RAW
        # The sample's size is padded so that the next record is aligned; no member lies in there.
        lengths = sizes[samples].astype(np.intp) - _RAW
        lost = sum(struct.unpack_from("Q", raw, int(at) * 8 + 16)[0] for at in places[kinds[places] == _LOST])
        return _Records(data, offsets, lengths), lost

    def close(self) -> None:
        fcntl.ioctl(self.fd, DISABLE, 0)
        self._map.close()
        os.close(self.fd)
