"""Read from perf events which code processes map (PERF_RECORD_MMAP2, Linux 3.16).

The kernel writes a record with its time for each mapping with code that is made (mmap, shmat, exec) or
becomes executable (mprotect). Processes that map nothing have no cost. It records neither munmap(2) nor
mremap(2).
"""

from __future__ import annotations

import os
import struct
import time
from collections import deque
from collections.abc import Collection, Iterator
from typing import NamedTuple

from pytracer import ktime
from pytracer.arrays import np
from pytracer.bpf.attach.perf import ATTR_SIZE
from pytracer.bpf.read.streams.perf_ring import LOST, PerfRecords, PerfRing
from pytracer.kernel.cpus import online_cpus
from pytracer.symbols.memory_maps import Mapping

# include/uapi/linux/perf_event.h
_SOFTWARE, _DUMMY = 1, 9
_TID, _TIME = 1 << 1, 1 << 2  # of a record's end, where sample_id_all is set
# Bits of struct perf_event_attr: mmap, comm, task, watermark, sample_id_all, mmap2, comm_exec, use_clockid.
_FLAGS = 1 << 8 | 1 << 9 | 1 << 13 | 1 << 14 | 1 << 18 | 1 << 23 | 1 << 24 | 1 << 25
_CLOCK_ID = 92  # where the clock is named
_COMM, _FORK, _MMAP2 = 3, 7, 10
_EXEC = 1 << 13  # PERF_RECORD_MISC_COMM_EXEC, in the third u16 of a header
_TRAILER = 16  # bytes: pid, tid, time
_MAPPED = struct.Struct(
    "QQQIIQ"
)  # address, length, offset in pages' bytes, major, minor, inode; from byte 16 on
_NAME = 72  # where a file's name begins: behind the inode's generation, protection and flags
_SIZE = 1 << 18  # bytes of a ring: some 2000 records; unprivileged users may have 516 KiB a CPU
_KEPT = 1 << 22  # bytes of records that are kept for processes which were not requested yet
_LONGEST = 4096 + 256  # bytes of a record: its path and the rest
_CPUS = 1_000_000_000  # ns between two checks for new CPUs


class Mapped(NamedTuple):
    """A process mapped code at a ``time`` (CLOCK_MONOTONIC, ns); or ``parent`` forked it; or, with neither,
    it executed a program."""

    pid: int
    time: int
    mapping: Mapping | None = None
    parent: int = 0


class MappingEvents:
    """The rings of all CPUs with records of mappings."""

    def __init__(self) -> None:
        """Open the rings. Raises OSError, also if the kernel would report process ids of another
        namespace."""
        self._rings: dict[int, PerfRing] = {}
        self._looked = ktime.monotonic_ns()
        self._size = _SIZE
        self._new: list[PerfRecords] = []
        self._kept: deque[PerfRecords] = deque()
        self._known = set[int]()
        self._last: dict[int, int] = {}  # of each ring the time of its last record
        try:
            self._open(online_cpus())
        except BaseException:
            self.close()
            raise

    def drain(self) -> list[tuple[int, int]]:
        """Drain the rings of records. Returns the (begin, end) times between which some were lost."""
        now, gaps = ktime.monotonic_ns(), list[tuple[int, int]]()
        if now - self._looked >= _CPUS:
            new = set(online_cpus()) - self._rings.keys()
            self._open(new)
            if new:  # what was mapped there meanwhile
                gaps.append((self._looked, ktime.monotonic_ns()))
            self._looked = now
        for cpu, ring in self._rings.items():
            was_full = False
            while pending := ring.waiting:
                records, consumed = ring.read(pending)
                if not consumed:
                    break
                was_full = was_full or ring.waiting + consumed > self._size - _LONGEST
                self._new.append(records)
                # The kernel reports it once there is room again: records were lost since the one before.
                times = np.concatenate(([self._last.get(cpu, 0)], records.times.astype(np.int64)))
                for index in np.flatnonzero(records.kinds == LOST).tolist():
                    gaps.append((int(times[index]), int(times[index + 1])))
                self._last[cpu] = int(times[-1])
            if was_full:  # it may report later that the last ones were lost
                gaps.append((self._last[cpu], ktime.monotonic_ns()))
        return gaps

    def mapped_by(self, pids: Collection[int]) -> list[Mapped]:
        """Return the drained mappings of these processes, ordered by time, each once. For a process that is
        new to this reader, that includes earlier mappings as far as they are kept."""
        known_pids = self._known.intersection(pids)
        events = [event for records in self._new for event in _mapped(records, known_pids)]
        self._kept.extend(self._new)
        self._new.clear()
        if others := set(pids) - self._known:
            events += [event for records in self._kept for event in _mapped(records, others)]
            self._known |= others
        size = sum(len(records.data) for records in self._kept)
        while size > _KEPT:
            size -= len(self._kept.popleft().data)
        return sorted(events, key=lambda event: event.time)

    def close(self) -> None:
        """Close the rings."""
        while self._rings:
            self._rings.popitem()[1].close()

    def _open(self, cpus: Collection[int]) -> None:
        head = struct.pack("IIQQQQQI", _SOFTWARE, ATTR_SIZE, _DUMMY, 0, _TID | _TIME, 0, _FLAGS, self._size)
        attr = head.ljust(_CLOCK_ID, b"\0") + struct.pack("i", time.CLOCK_MONOTONIC)
        for cpu in cpus:
            self._rings[cpu] = PerfRing(attr, cpu, self._size)


def _mapped(records: PerfRecords, pids: Collection[int]) -> Iterator[Mapped]:
    """Yield the records of these processes."""
    data = records.data
    half_words = data.view(np.uint16)
    is_exec = (records.kinds == _COMM) & (half_words[records.places * 4 + 2] & _EXEC != 0)
    words = data.view(np.uint32)
    # The record of a new thread has the same process twice.
    is_fork = (records.kinds == _FORK) & (words[records.places * 2 + 2] != words[records.places * 2 + 3])
    is_relevant = (records.kinds == _MMAP2) | is_exec | is_fork
    is_relevant &= np.isin(words[records.places * 2 + 2], np.fromiter(pids, np.uint32, len(pids)))
    for offset, kind, size in zip(
        (records.places[is_relevant] * 8).tolist(),
        records.kinds[is_relevant].tolist(),
        records.sizes[is_relevant].tolist(),
        strict=True,
    ):
        raw = data[offset : offset + size].tobytes()
        [pid] = struct.unpack_from("I", raw, 8)
        [time_ns] = struct.unpack_from("Q", raw, size - 8)
        if kind == _FORK:
            yield Mapped(pid, time_ns, parent=struct.unpack_from("I", raw, 12)[0])
        else:
            yield Mapped(pid, time_ns, _mapping(raw) if kind == _MMAP2 else None)


def _mapping(raw: bytes) -> Mapping:
    start, length, offset, major, minor, inode = _MAPPED.unpack_from(raw, 16)
    path = os.fsdecode(raw[_NAME : len(raw) - _TRAILER].partition(b"\0")[0])
    if path == "//anon":
        path = ""
    return Mapping(start, start + length, offset, f"{major:02x}:{minor:02x}", inode, path)
