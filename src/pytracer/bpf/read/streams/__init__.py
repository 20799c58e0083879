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
    """Reads records from a ring. They stay in the ring until they are read: memory is bounded."""

    @property
    def fileno(self) -> int:
        """A descriptor that becomes readable when there may be records."""
        ...

    @property
    def poll_interval(self) -> float | None:
        """Seconds after which there may be records though the descriptor is not readable; None: never."""
        ...

    @property
    def lost(self) -> int:
        """The number of records that found no room, except those that the C counts itself."""
        ...

    @property
    def truncated(self) -> int:
        """The number of events returned without their end, except those that the C counts itself."""
        ...

    @property
    def has_pending(self) -> bool:
        """True if the next records are out of the ring already."""
        ...

    @property
    def unread_bytes(self) -> int:
        """The bytes that are still in the ring; 0 if that is not known."""
        ...

    def read(self, *, last: bool = False) -> Array | None:
        """Return the next records, ordered by time, shape (n,); None if there are no more now.

        If the last member of their type is a string, it has as much room as the longest of them needs. The
        bytes after the end of a string are undefined: the C does not clear the record before it writes.

        With ``last``, no records will be added any more: the reader also returns those that it held back to
        sort them among records of other CPUs.
        """
        ...

    def discard(self) -> int:
        """Drop the records that are left, once no more will be added. Returns their number."""
        ...

    def close(self) -> None:
        """Unmap the ring."""
        ...


def open_reader(ring: Map, record: Map, size: int) -> StreamReader:
    """Open the reader of the map ``ring``, whose records have the type of the values of the map ``record``.

    ``size`` is the total size of perf rings in bytes, for all CPUs together. Raises OSError.
    """
    reader: StreamReader
    if ring.type == MapType.RINGBUF:
        from pytracer.bpf.read.streams.ringbuf import RingReader

        reader = RingReader(ring.fd, ring.max_entries, lambda: record.value)
    else:
        from pytracer.bpf.read.streams.perf_buffer import PerfReader

        reader = PerfReader(ring, record.value, size)
    if not any(name.endswith("_at") for name in record.members[1]):  # told without NumPy
        return reader
    from pytracer.bpf.read.streams.reassembly import ReassemblingReader, is_fragmented

    return ReassemblingReader(reader, record.value) if is_fragmented(record.value) else reader
