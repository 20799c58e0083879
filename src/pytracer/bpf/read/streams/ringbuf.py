"""Read the BPF ring buffer (Linux 5.8, 457f44363a88) through its mapping.

The kernel maps the data pages twice in a row, so that a record which wraps around is contiguous. Before each
record are 8 bytes: its length with the bits *busy* (still being written) and *discarded*, and its page
offset. Records are in the order in which room was reserved, a moment before the C takes the time, so those of
two CPUs may be out of order. A ring has only one reader.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import select
import struct
from collections.abc import Callable

from pytracer.arrays import Array, np
from pytracer.bpf.read.streams.records import (
    CHUNK,
    MemoryBarrier,
    count_fitting,
    gather,
    record_offsets,
    sort_by_time,
    string_member,
)

HEADER = 8
BUSY, DISCARDED = 1 << 31, 1 << 30  # include/uapi/linux/bpf.h: BPF_RINGBUF_BUSY_BIT, _DISCARD_BIT
LENGTH = DISCARDED - 1
_FEW = 1 << 14  # unread bytes that are quicker to read without NumPy than NumPy is to load
_LENGTH = struct.Struct("=I")


def shortest_record(record: np.dtype[np.void]) -> int:
    """Return the bytes that the shortest record of this type takes in a ring: a last string may be empty."""
    last = string_member(record)
    size = record.itemsize
    if last is not None and record.fields is not None:
        size = int(record.fields[last][1]) + 1
    return (HEADER + size + 7) // 8 * 8


class RingReader:
    """See :class:`~pytracer.bpf.read.streams.StreamReader`."""

    poll_interval: float | None = None
    lost = 0
    truncated = 0
    has_pending = False

    def __init__(self, fd: int, size: int, record: Callable[[], np.dtype[np.void]]) -> None:
        """Map the ring of ``size`` bytes; ``record`` returns the type of its records. Raises OSError."""
        self._record_type = record
        self._size = size
        self._fence = MemoryBarrier()
        page = os.sysconf("SC_PAGE_SIZE")
        # Page 0 has the consumer position, which the reader writes; page 1 the producer position.
        self._consumer_page = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        try:
            self._data_pages = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        except BaseException:
            self._consumer_page.close()
            raise
        # Single accesses of 8 bytes, as the kernel's are: struct.pack_into would clear the place first.
        self._read = memoryview(self._consumer_page).cast("Q")
        self._written = memoryview(self._data_pages).cast("Q")
        self._bytes = memoryview(self._data_pages)[page:]
        self._poll = select.epoll()
        self._poll.register(fd, select.EPOLLIN)

    @property
    def fileno(self) -> int:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return self._poll.fileno()

    @property
    def unread_bytes(self) -> int:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return self._written[0] - self._read[0]

    @functools.cached_property
    def _data(self) -> Array:
        return np.frombuffer(self._bytes, dtype=np.uint8)

    @functools.cached_property
    def _record(self) -> np.dtype[np.void]:
        return self._record_type()

    def read_few(self) -> list[bytes] | None:
        """Return the next records as bytes, unsorted, without NumPy: as long as the C
        made them. None if there is so much to read that ``read`` is quicker."""
        consumer, end = self._read[0], self._written[0]
        if end - consumer > _FEW:
            return None
        self._fence()
        records = list[bytes]()
        while consumer < end:
            start = consumer % self._size
            [head] = _LENGTH.unpack_from(self._bytes, start)
            self._fence()
            if head & BUSY:
                break
            length = head & LENGTH
            if not head & DISCARDED:
                records.append(bytes(self._bytes[start + HEADER : start + HEADER + length]))
            consumer += (length + HEADER + 7) // 8 * 8
        self._fence()
        self._read[0] = consumer
        return records

    def read(self, *, last: bool = False) -> Array | None:  # noqa: ARG002 - nothing is held back here
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        consumer = self._read[0]
        end = self._written[0]  # what comes later is for the next call: this one must come to its end
        self._fence()
        while consumer < end:
            start = consumer % self._size
            records, consumed = self._records(self._data[start : start + min(end - consumer, CHUNK)])
            consumer += consumed
            self._fence()
            self._read[0] = consumer
            if len(records):
                return sort_by_time(records)
            if not consumed:  # the next record is still being written
                break
        return None

    def discard(self) -> int:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`. Copies nothing: takes milliseconds for each
        megabyte."""
        consumer, end = self._read[0], self._written[0]
        count = 0
        self._fence()
        while consumer < end:
            start = consumer % self._size
            places, _, consumed = self._find(self._data[start : start + min(end - consumer, CHUNK)])
            if not consumed:  # the next record is still being written
                break
            count += len(places)
            consumer += consumed
            self._fence()
            self._read[0] = consumer
        return count

    def close(self) -> None:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        self._poll.close()
        self.__dict__.pop("_data", None)
        del self._read, self._written, self._bytes
        for mapping in (self._consumer_page, self._data_pages):
            with contextlib.suppress(BufferError):  # a view is still held: it goes with the last of them
                mapping.close()

    def _records(self, data: Array) -> tuple[Array, int]:
        """Return the whole records at the beginning of ``data``, and how many bytes they take together with
        discarded ones."""
        same_length = self._same_lengths(data)
        if same_length is not None:
            return same_length
        positions, lengths, consumed = self._find(data)
        count = count_fitting(lengths)
        if count < len(positions):
            consumed = int(positions[count]) * 8
        records = gather(data, positions[:count] * 8 + HEADER, lengths[:count], self._record)
        return records, consumed

    def _find(self, data: Array) -> tuple[Array, Array, int]:
        """Find whole records: the words at which they begin, their lengths, and how many bytes they take
        together with discarded ones."""
        heads = data[: len(data) // 8 * 8].view(np.uint32)[::2].copy()  # the kernel may change them meanwhile
        self._fence()
        length = heads & LENGTH
        step = (length.astype(np.intp) + HEADER + 7) // 8
        # Unreadable are records that are still being written, and one that the end of the data cuts.
        step[(heads & BUSY != 0) | (np.arange(len(heads)) + step > len(heads))] = 0
        places, end = record_offsets(step)
        positions = places[heads[places] & DISCARDED == 0]
        return positions, length[positions].astype(np.intp), end * 8

    def _same_lengths(self, data: Array) -> tuple[Array, int] | None:
        """Return the records as ``_records`` does if all have the type's length and none is discarded; else
        None."""
        size = self._record.itemsize
        stride = (HEADER + size + 7) // 8 * 8
        count = len(data) // stride
        if not count:
            return None
        heads = data[: count * stride].reshape(count, stride)[:, :4].copy().view(np.uint32).reshape(-1)
        self._fence()
        is_regular = heads == size
        if not is_regular.all():
            count = int(is_regular.argmin())
            if not heads[count] & BUSY or not count:
                return None
        # A copy even of a single row, which is contiguous as it is: its room is about to be given back.
        rows = data[: count * stride].reshape(count, stride)[:, HEADER : HEADER + size].copy()
        return rows.reshape(-1).view(self._record), count * stride
