"""Write rings in memory as the kernel does; readers cannot tell the difference."""

from __future__ import annotations

import mmap
import os
import select
import struct

PAGE = os.sysconf("SC_PAGE_SIZE")
BUSY, DISCARDED = 1 << 31, 1 << 30


class FakeEpoll:
    """Replaces select.epoll, which does not accept files in memory."""

    def register(self, *_: object) -> None:
        pass

    def unregister(self, *_: object) -> None:
        pass

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        pass


def fake_epoll(monkeypatch) -> None:
    monkeypatch.setattr(select, "epoll", FakeEpoll)


class BpfRing:
    """The BPF ring buffer: reserve, then commit or discard. Old bytes stay in reserved space."""

    def __init__(self, size: int = PAGE) -> None:
        self.size = size
        self.fd = os.memfd_create("ring")
        os.truncate(self.fd, 2 * PAGE + 2 * size)
        self._map = mmap.mmap(self.fd, 2 * PAGE + 2 * size)
        self._map[2 * PAGE :] = b"\xa5" * (2 * size)

    def reserve(self, length: int) -> int | None:
        """Reserve a record. Returns its position, or None if it does not fit."""
        size = (length + 8 + 7) // 8 * 8
        read, write_position = self._position(0), self._position(PAGE)
        if write_position + size - read > self.size - 1:
            return None
        self._put(write_position, struct.pack("II", length | BUSY, 0))
        struct.pack_into("Q", self._map, PAGE, write_position + size)
        return write_position

    def commit(self, position: int, data: bytes) -> None:
        self._put(position + 8, data)
        self._put(position, struct.pack("I", len(data)))

    def discard(self, position: int, length: int) -> None:
        self._put(position, struct.pack("I", length | DISCARDED))

    def begin(self, position: int) -> None:
        """Set both positions to ``position``."""
        struct.pack_into("Q", self._map, 0, position)
        struct.pack_into("Q", self._map, PAGE, position)

    def close(self) -> None:
        self._map.close()
        os.close(self.fd)

    def _position(self, page: int) -> int:
        return struct.unpack_from("Q", self._map, page)[0]

    def _put(self, position: int, data: bytes) -> None:
        for offset, byte in enumerate(data):  # both mappings of the same page
            index = 2 * PAGE + (position + offset) % self.size
            self._map[index] = self._map[index + self.size] = byte


class PerfRing:
    """One CPU's perf ring."""

    def __init__(self, size: int = PAGE) -> None:
        self.size = size
        self.fd = os.memfd_create("perf")
        os.truncate(self.fd, PAGE + size)
        self._map = mmap.mmap(self.fd, PAGE + size)

    def sample(self, data: bytes) -> bool:
        """Return whether there was room. The padding is what the kernel leaves there: anything."""
        padding = -(len(data) + 4) % 8
        return self.record(9, struct.pack("I", len(data) + padding) + data + b"\xa5" * padding)

    def lost(self, count: int) -> bool:
        return self.record(2, struct.pack("QQ", 1, count))

    def begin(self, position: int) -> None:
        struct.pack_into("QQ", self._map, 1024, position, position)

    def record(self, kind: int, body: bytes, misc: int = 0) -> bool:
        head, tail = struct.unpack_from("QQ", self._map, 1024)
        record = struct.pack("IHH", kind, misc, len(body) + 8) + body
        if head + len(record) - tail > self.size:
            return False
        for offset, byte in enumerate(record):
            self._map[PAGE + (head + offset) % self.size] = byte
        struct.pack_into("Q", self._map, 1024, head + len(record))
        return True
