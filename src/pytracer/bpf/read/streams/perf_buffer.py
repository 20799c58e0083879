"""Read perf buffers, one ring for each CPU (Linux 4.4), for kernels without the BPF ring buffer.

Each ring is a page with positions and a power of two of pages with data. A record that wraps around is
joined; the records of all CPUs are sorted by the time in their first member.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
from typing import NamedTuple

from pytracer import ktime
from pytracer.arrays import Array, np
from pytracer.bpf.attach.perf import ATTR_SIZE, DISABLE, ENABLE
from pytracer.bpf.read.maps import Map
from pytracer.bpf.read.streams.perf_ring import PerfRing
from pytracer.bpf.read.streams.records import CHUNK, compact, count_fitting, gather, read_rest
from pytracer.kernel.cpus import online_cpus

# include/uapi/linux/perf_event.h
_SOFTWARE, _BPF_OUTPUT = 1, 10
_SAMPLE_RAW = 1 << 10
_WATERMARK = 1 << 14  # struct perf_event_attr: wake up by bytes, not by events
_SAMPLE = 9  # PERF_RECORD_SAMPLE
_RAW = 12  # bytes before a sample's data: struct perf_event_header, u32 size

_HELD = 2_000_000  # ns: a record this young may still be overtaken by an older one from another CPU
_CPUS = 1_000_000_000  # ns between two checks for new CPUs
_END = np.iinfo(np.uint64).max
_LEAST = 1 << 18  # minimum bytes of a ring that are held: several records (sizes are u16)


class _Records(NamedTuple):
    """Records as they arrived: the bytes, the offset of each (multiples of 4), and its length."""

    data: Array
    offsets: Array
    lengths: Array

    @property
    def times(self) -> Array:
        """The first member of each, in nanoseconds, shape (n,)."""
        words, positions = self.data.view(np.uint32), self.offsets // 4
        return np.stack((words[positions], words[positions + 1]), axis=1).view(np.uint64).reshape(-1)


_NOTHING = _Records(np.zeros(0, np.uint8), np.zeros(0, np.intp), np.zeros(0, np.intp))


def _concatenate(parts: list[_Records]) -> _Records:
    """Concatenate records."""
    starts = np.cumsum([0, *(len(part.data) for part in parts[:-1])])
    return _Records(
        np.concatenate([part.data for part in parts]),
        np.concatenate([part.offsets + start for part, start in zip(parts, starts, strict=True)]),
        np.concatenate([part.lengths for part in parts]),
    )


class PerfReader:
    """See :class:`~pytracer.bpf.read.streams.StreamReader`."""

    truncated = 0
    has_pending = False
    poll_interval: float | None = 0.05  # a CPU that is not busy does not fill its ring to the mark

    def __init__(self, ring: Map, record: np.dtype[np.void], size: int) -> None:
        """Open a ring of ``size`` / CPUs bytes on every online CPU. Raises OSError."""
        self._map = ring
        self._record = record
        self.lost = 0
        self._rings: list[_Ring] = []
        self._poll = select.epoll()
        self._online: set[int] = set()
        self._looked = 0
        page = os.sysconf("SC_PAGE_SIZE")
        cpus = online_cpus()
        self._size = page << max(size // len(cpus) // page, 1).bit_length() - 1
        try:
            self._look(cpus)
        except BaseException:
            self.close()
            raise
        if not self._rings:
            self.close()
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    @property
    def fileno(self) -> int:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return self._poll.fileno()

    @property
    def unread_bytes(self) -> int:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return sum(ring.waiting for ring in self._rings)

    def read(self, *, last: bool = False) -> Array | None:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        now = ktime.monotonic_ns()
        if now - self._looked > _CPUS:
            self._looked = now
            self._look(online_cpus())
        deadline = _END if last else now - _HELD
        max_bytes = max(CHUNK // len(self._rings), _LEAST)
        for ring in self._rings:
            self.lost += ring.fill(max_bytes)
            if ring.more:  # the unread records are younger than the last pending one
                deadline = min(deadline, int(ring.pending.times[-1]))
        together = _concatenate([ring.pending for ring in self._rings])
        times = together.times
        order = np.argsort(times, kind="stable")
        order = order[: np.searchsorted(times[order], np.uint64(deadline), side="right")]
        order = order[: count_fitting(together.lengths[order])]
        if not len(order):
            return None
        left = np.ones(len(times), dtype=bool)
        left[order] = False
        ring_ends = np.cumsum([len(ring.pending.lengths) for ring in self._rings])
        for ring, those in zip(self._rings, np.split(left, ring_ends[:-1]), strict=True):
            ring.keep(those)
        return gather(together.data, together.offsets[order], together.lengths[order], self._record)

    def discard(self) -> int:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return read_rest(self.read)

    def close(self) -> None:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        self._poll.close()
        while self._rings:
            self._rings.pop().close()

    def _look(self, cpus: list[int]) -> None:
        """Open a ring on each new CPU, and close those of CPUs that went offline once they have been read.

        A CPU that comes back needs a new ring: the kernel does not reactivate an event that was open on it.
        """
        for cpu in set(cpus) - self._online:
            try:
                new_ring = _Ring(cpu, self._size)
            except OSError as error:
                if error.errno != errno.ENODEV:  # it went in the meantime
                    raise
                cpus = [other for other in cpus if other != cpu]
                continue
            self._rings.append(new_ring)
            self._map.update(struct.pack("i", cpu), struct.pack("i", new_ring.fd))
            self._poll.register(new_ring.fd, select.EPOLLIN)
            fcntl.ioctl(new_ring.fd, ENABLE, 0)
        # CPUs that were offline at the last check have been read since.
        offline = [ring for ring in self._rings if not (ring.polled or ring.more)]
        for ring in [ring for ring in offline if not len(ring.pending.lengths)]:
            self._rings.remove(ring)
            ring.close()
        for ring in self._rings:
            if ring.polled and ring.cpu in self._online - set(cpus):
                self._poll.unregister(ring.fd)  # it would be reported as hung up for ever
                ring.polled = False
        self._online = set(cpus)


class _Ring(PerfRing):
    """The ring of one CPU. ``pending`` are records that were read but not returned yet; ``more`` is True if
    there are others after them."""

    def __init__(self, cpu: int, size: int) -> None:
        attr = struct.pack(
            "IIQQQQQII", _SOFTWARE, ATTR_SIZE, _BPF_OUTPUT, 1, _SAMPLE_RAW, 0, _WATERMARK, size // 4, 0
        )
        super().__init__(attr, cpu, size)
        self.cpu = cpu
        self.polled, self.more = True, False
        self.pending = _NOTHING

    def fill(self, max_bytes: int) -> int:
        """Read until ``max_bytes`` bytes are pending or the ring is empty. Returns the number of lost
        records."""
        lost = 0
        while True:
            available = self.waiting
            self.more = available != 0
            free_bytes = max_bytes - len(self.pending.data)
            if not self.more or free_bytes <= 0:
                return lost
            records, consumed = self.read(min(available, free_bytes))
            lost += records.lost
            samples = records.kinds == _SAMPLE
            if samples.any():  # else its bytes are none's, and would stay for good
                # The sample's size is padded so that the next record is aligned; no member lies in there.
                starts, sizes = records.places[samples] * 8, records.sizes[samples]
                self.pending = _concatenate(
                    [self.pending, _Records(records.data, starts + _RAW, sizes - _RAW)]
                )
            if not consumed:  # the next one is longer than that
                return lost

    def keep(self, those: Array) -> None:
        """Keep only the pending records in ``those``, bool of shape (n,)."""
        if not those.all():
            data, offsets, lengths = self.pending
            lengths = lengths[those]
            self.pending = _Records(*compact(data, offsets[those], lengths), lengths)

    def close(self) -> None:
        try:
            fcntl.ioctl(self.fd, DISABLE, 0)
        finally:
            super().close()
