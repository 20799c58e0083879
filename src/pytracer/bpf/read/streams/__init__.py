"""Read records of a stream in bulk, into NumPy arrays of the C's own layout.

See "Rings" in docs/internals.md.
"""

from __future__ import annotations

from typing import Protocol

from pytracer.arrays import Array
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import MapType

__all__ = ["StreamReader", "open_reader"]


class StreamReader(Protocol):
    """What takes records out of a ring. They lie there until they are asked for: memory is bounded."""

    @property
    def fileno(self) -> int:
        """A descriptor that is readable when there may be something."""
        ...

    @property
    def poll_interval(self) -> float | None:
        """After so many seconds there may be something though the descriptor has not said so; None: never."""
        ...

    @property
    def lost(self) -> int:
        """How many records found no room, as far as the C was not told."""
        ...

    @property
    def truncated(self) -> int:
        """How many events were given without their end, as far as the C does not know."""
        ...

    @property
    def has_pending(self) -> bool:
        """Whether the next records are out of the ring already."""
        ...

    def read(self, *, last: bool = False) -> Array | None:
        """The next records, in the order of their time, shape (n,); None if there is nothing more now.

        Where a string is the last member of their type, it has as much room as the longest of them needs.
        Behind the end of a string there may be anything: the C does not clear what it writes a record to.

        ``last`` says that nothing will be added any more: what was held back for the order's sake comes, too.
        """
        ...

    def discard(self) -> int:
        """Drop the records that are left, once nothing will be added any more. Returns how many they were."""
        ...

    def close(self) -> None:
        """Let go of the mapping."""
        ...


def open_reader(ring: Map, record: Map, size: int) -> StreamReader:
    """The reader of a stream: the map ``ring``, whose records are the values of the map ``record``.

    ``size`` is how many bytes of perf rings there are to be, all CPUs together. Raises OSError.
    """
    reader: StreamReader
    if ring.type == MapType.RINGBUF:
        from pytracer.bpf.read.streams.ringbuf import RingReader

        reader = RingReader(ring.fd, ring.max_entries, record.value)
    else:
        from pytracer.bpf.read.streams.perf_buffer import PerfReader

        reader = PerfReader(ring, record.value, size)
    from pytracer.bpf.read.streams.reassembly import ReassemblingReader, is_fragmented

    return ReassemblingReader(reader, record.value) if is_fragmented(record.value) else reader
