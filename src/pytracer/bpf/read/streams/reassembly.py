"""Join events that are too long for one record.

Their struct ends with bytes, ``u8 NAME[ROOM]``. ``NAME_len`` is how many there are in the whole event, and
``NAME_at`` the position of this record's first. All other members are equal in each part. The C sends the
parts in order, stops where one finds no room in the ring, and counts that as a truncated string; records
of other CPUs may lie between. The arguments of a program are read so, from its memory, at
``sched_process_exec``: up to Linux's limit of 6 MB.
"""

from __future__ import annotations

import time
from collections import deque

from pytracer.arrays import Array, np
from pytracer.bpf.read.streams import StreamReader
from pytracer.bpf.read.streams.records import read_rest, resize_dtype, string_member

_PATIENCE = 1.0  # seconds to wait for the rest: the C sends it within some milliseconds, or never


def is_fragmented(record: np.dtype[np.void]) -> bool:
    """Return whether records of this type may be parts of events."""
    name = string_member(record)
    return name is not None and {f"{name}_len", f"{name}_at"} <= set(record.names or ())


class _PartialRecord:
    """An event whose first parts have arrived."""

    def __init__(self, head: Array, content: bytearray) -> None:
        """Start with the first part ``head``, shape (1,)."""
        self.head, self.content = head, content
        self.since = time.monotonic()


class ReassemblingReader:
    """A :class:`~pytracer.bpf.read.streams.StreamReader` that reassembles the events of another one.

    An event in parts is returned with its last part, as a batch of its own. If the rest does not arrive, the
    event is returned without it, and ``NAME_len`` is the length that did arrive.
    """

    def __init__(self, reader: StreamReader, record: np.dtype[np.void]) -> None:
        """Read the records of ``reader``, which is closed with this one."""
        name = string_member(record)
        assert name is not None
        assert record.fields is not None
        self._reader = reader
        self._name, self._at, self._len = name, f"{name}_at", f"{name}_len"
        self._room = record.fields[name][0].shape[0]
        self._offset = record.fields[name][1]
        self._ready: deque[Array] = deque()
        self._partial: dict[bytes, _PartialRecord] = {}
        self.truncated = 0

    @property
    def fileno(self) -> int:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return self._reader.fileno

    @property
    def poll_interval(self) -> float | None:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return self._reader.poll_interval

    @property
    def lost(self) -> int:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return self._reader.lost

    @property
    def has_pending(self) -> bool:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return bool(self._ready)

    @property
    def unread_bytes(self) -> int:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return self._reader.unread_bytes

    def read(self, *, last: bool = False) -> Array | None:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        while not self._ready:
            records = self._reader.read(last=last)
            if records is None:
                self._give_up(None if last else time.monotonic() - _PATIENCE)
                break
            self._take(records)
        return self._ready.popleft() if self._ready else None

    def discard(self) -> int:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        return read_rest(self.read)

    def close(self) -> None:
        """See :class:`~pytracer.bpf.read.streams.StreamReader`."""
        self._reader.close()

    def _take(self, records: Array) -> None:
        parts = np.flatnonzero((records[self._at] > 0) | (records[self._len] > self._room))
        begin = 0
        for number in parts.tolist():
            if begin < number:
                self._ready.append(records[begin:number])
            self._add(records[number : number + 1].copy())
            begin = number + 1
        if begin < len(records):
            self._ready.append(records[begin:])

    def _add(self, part: Array) -> None:
        offset, total = int(part[self._at][0]), int(part[self._len][0])
        part[self._at] = 0
        content = part[self._name][0][: total - offset].tobytes()
        key = part.view(np.uint8)[: self._offset].tobytes()
        if offset == 0:
            self._partial[key] = _PartialRecord(part, bytearray(content))
        elif key in self._partial:
            self._partial[key].content += content
        else:  # its first parts were given up
            self.truncated += offset + len(content) == total
            return
        if len(self._partial[key].content) >= total:
            self._give(self._partial.pop(key))

    def _give_up(self, deadline: float | None) -> None:
        """Return incomplete events that began before ``deadline`` (None: all); the C has counted them as
        truncated."""
        for key, record in list(self._partial.items()):
            if deadline is None or record.since < deadline:
                self._give(self._partial.pop(key))

    def _give(self, partial_record: _PartialRecord) -> None:
        size = len(partial_record.content)
        record = np.zeros(1, dtype=resize_dtype(partial_record.head.dtype, self._offset + size))
        content = record.view(np.uint8)
        content[: self._offset] = partial_record.head.view(np.uint8)[: self._offset]
        content[self._offset : self._offset + size] = np.frombuffer(partial_record.content, dtype=np.uint8)
        record[self._len] = size
        self._ready.append(record)
