"""Read the output of a program on an iterator (probes_c/include/listing.h; Linux 5.8).

The kernel runs the program for each open file or thread while pytracer reads. The output waits in kernel
pages and is read like a ring's records: at the reader's pace, without loss. The running task is pytracer,
so the common filters test the listed task (``pt_is_traced``) and its cgroup's ids: only running tasks can
be asked whether they are in a cgroup. The program gets typed pointers that the kernel accepts back; BCC,
which would copy what they point to, does not see them.
"""

from __future__ import annotations

import errno
import os

from pytracer.arrays import Array, np
from pytracer.bpf.read.streams.records import CHUNK, count_fitting, gather, read_rest, record_offsets

_HEADER = 8  # the length of a record, which is a multiple of 8
_LOOK = 1 << 16  # bytes; the kernel has 8 pages


class ListingReader:
    """See :class:`~pytracer.bpf.read.streams.StreamReader`. It ends after the last object of the iterator."""

    poll_interval: float | None = None
    lost = 0
    truncated = 0
    unread_bytes = 0

    def __init__(self, fd: int, record: np.dtype[np.void]) -> None:
        """Own ``fd``, an iterator's descriptor."""
        self._fd = fd
        self._record = record
        self._held = b""
        self._ended = False

    @property
    def fileno(self) -> int:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return self._fd

    @property
    def has_pending(self) -> bool:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return bool(self._held)

    def read(self, *, last: bool = False) -> Array | None:  # noqa: ARG002 - nothing is held back here
        """See :class:`~pytracer.bpf.read.streams.StreamReader`. Raises OSError."""
        parts = [self._held]
        size = len(self._held)
        while not self._ended and size < CHUNK:
            part = self._look()
            self._ended = not part
            parts.append(part)
            size += len(part)
        self._held = b"".join(parts)
        data = np.frombuffer(self._held, dtype=np.uint8)
        lengths = data[: len(data) // 8 * 8].view(np.uint64).astype(np.intp)
        step = (lengths + _HEADER) // 8
        step[np.arange(len(step)) + step > len(step)] = 0  # the data ends within this record
        places, end = record_offsets(step)
        count = count_fitting(lengths[places])
        if not count:
            return None
        if count < len(places):
            end = int(places[count])
        places = places[:count]
        records = gather(data, places * 8 + _HEADER, lengths[places], self._record)
        self._held = self._held[end * 8 :]
        return records

    def discard(self) -> int:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return read_rest(self.read)

    def close(self) -> None:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        os.close(self._fd)

    def _look(self) -> bytes:
        """Read the next bytes, none at the end. The kernel returns EAGAIN after a million objects without
        output."""
        while True:
            try:
                return os.read(self._fd, _LOOK)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
