"""Read BPF maps by their descriptors in bulk, into NumPy arrays of the C's own layout."""

from __future__ import annotations

import errno
import functools
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pytracer.arrays import Array, np
from pytracer.bpf.image import MapSpec
from pytracer.bpf.read.dtypes import dtype_of, members_of
from pytracer.bpf.sys import PER_CPU, BpfError, Command, address, bpf, bpf_inout, map_update
from pytracer.kernel import policy
from pytracer.kernel.cpus import possible_cpus
from pytracer.record import record

if TYPE_CHECKING:
    Types = tuple[np.dtype[Any], np.dtype[Any]]

_NO_BATCHES = errno.EINVAL, errno.EOPNOTSUPP, policy.ENOTSUPP
"""What a kernel says that reads no batches of such a map."""


@record
class Map:
    """A map that is open as ``fd``. ``types`` returns the dtypes of its key and value, ``members`` are the
    names of their members, ``sizes`` their bytes (0: those of the dtypes)."""

    name: str
    fd: int
    type: int
    max_entries: int
    types: Callable[[], Types]
    members: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    sizes: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, spec: MapSpec, fd: int, max_entries: int) -> Map:
        """Return the map that was created from ``spec``."""

        def types() -> Types:
            return dtype_of(spec.key_type, spec.key_size), dtype_of(spec.value_type, spec.value_size)

        members = members_of(spec.key_type), members_of(spec.value_type)
        sizes = spec.key_size, spec.value_size
        return cls(spec.name, fd, spec.type, max_entries, types, members, sizes)

    @functools.cached_property
    def key(self) -> np.dtype[Any]:
        """The dtype of its keys. Raises SchemaError if the C type has no dtype."""
        return self.types()[0]

    @functools.cached_property
    def value(self) -> np.dtype[Any]:
        """The dtype of its values; for per-CPU maps, of one CPU's value. Raises SchemaError."""
        return self.types()[1]

    @property
    def is_per_cpu(self) -> bool:
        """True if every CPU has a value of its own."""
        return self.type in PER_CPU

    @property
    def _key_size(self) -> int:
        return self.sizes[0] or self.key.itemsize

    def read(self) -> tuple[Array, Array]:
        """Read all entries: keys of shape (n,), values of shape (n,), or (n, cpus) for per-CPU maps.

        Takes one system call for thousands of entries if the kernel has MAP_LOOKUP_BATCH (Linux 5.6, for
        per-CPU arrays 5.13); else one for each. Entries added meanwhile may or may not be included.
        """
        return self._read_with(Command.MAP_LOOKUP_BATCH)

    def entries(self) -> list[tuple[bytes, bytes]]:
        """Read all entries as ``read`` does, without NumPy: keys and values. Those of a per-CPU map are the
        values of all CPUs one after the other, each padded to a multiple of 8 bytes."""
        key_size, size = self._key_size, self._entry_size(self.sizes[1] or self.value.itemsize)
        found = list[tuple[bytes, bytes]]()
        buffers = bytearray(), bytearray()

        def place(_position: int, capacity: int) -> tuple[int, int]:
            nonlocal buffers
            if len(buffers[0]) < capacity * key_size:
                buffers = bytearray(capacity * key_size), bytearray(capacity * size)
            return address(buffers[0]), address(buffers[1])

        try:
            for count in self._batches(Command.MAP_LOOKUP_BATCH, size, place):
                starts = range(0, count * key_size, key_size)
                keys = [bytes(buffers[0][start : start + key_size]) for start in starts]
                values = [bytes(buffers[1][start : start + size]) for start in range(0, count * size, size)]
                found += zip(keys, values, strict=True)
        except OSError as error:
            if error.errno not in _NO_BATCHES:
                raise
            return list(self._walk(size))
        return found

    def drain(self) -> tuple[Array, Array]:
        """Read all entries of a hash as ``read`` does, and delete them.

        No program may use the map meanwhile: an update of an entry that is being deleted would be lost. Uses
        MAP_LOOKUP_AND_DELETE_BATCH (Linux 5.6), else two system calls for each entry.
        """
        return self._read_with(Command.MAP_LOOKUP_AND_DELETE_BATCH)

    @property
    def is_empty(self) -> bool:
        """True if a hash has no entry now."""
        key = bytearray(max(self._key_size, 8))
        try:
            bpf(Command.MAP_GET_NEXT_KEY, struct.pack("IxxxxQQ", self.fd, 0, address(key)))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return True
            raise
        return False

    def empty_result(self) -> tuple[Array, Array]:
        """Return what ``read`` returns for a map without entries."""
        values = np.zeros((0, possible_cpus()) if self.is_per_cpu else 0, dtype=self.value)
        return np.zeros(0, dtype=self.key), values

    def _read_with(self, command: Command) -> tuple[Array, Array]:
        size = self._entry_size(self.value.itemsize)
        cpus = possible_cpus() if self.is_per_cpu else 1
        try:
            keys, raw = self._batch(command, size)
        except OSError as error:
            if error.errno not in _NO_BATCHES:
                raise
            walked = list(self._walk(size))
            keys = np.frombuffer(b"".join(key for key, _ in walked), dtype=self.key)
            raw = np.frombuffer(b"".join(value for _, value in walked), dtype=np.uint8).reshape(-1, size)
            if command is Command.MAP_LOOKUP_AND_DELETE_BATCH:
                self.delete(keys)
        trimmed = raw.reshape(-1, cpus, size // cpus)[:, :, : self.value.itemsize]
        values = np.ascontiguousarray(trimmed).view(self.value).reshape(-1, cpus)
        return keys, values if self.is_per_cpu else values[:, 0]

    def _entry_size(self, value_size: int) -> int:
        """Return the bytes that the kernel writes for a value: of each CPU a multiple of 8."""
        return -(-value_size // 8) * 8 * possible_cpus() if self.is_per_cpu else value_size

    def look_up(self, number: int, size: int = 0) -> bytes:
        """Return the value of a key of 32 bits; ``size`` is that of the value, if its type does not say it.

        Raises OSError.
        """
        key, value = bytearray(struct.pack("I", number)), bytearray(size or self.value.itemsize)
        bpf(Command.MAP_LOOKUP_ELEM, struct.pack("IxxxxQQQ", self.fd, address(key), address(value), 0))
        return bytes(value)

    def update(self, key: bytes, value: bytes) -> None:
        """Set one entry; ``value`` in the kernel's layout. Raises OSError."""
        map_update(self.fd, key, value)

    def fill(self, keys: Iterable[bytes]) -> None:
        """Add ``keys`` to a set: a hash with one-byte values."""
        for key in keys:
            self.update(key, b"\1")

    def delete(self, keys: Array) -> None:
        """Delete entries by their keys, shape (n,); missing ones are ignored."""
        buffer = bytearray(keys.tobytes())
        begin = address(buffer) if buffer else 0
        for offset in range(begin, begin + len(buffer), self.key.itemsize):
            try:
                bpf(Command.MAP_DELETE_ELEM, struct.pack("IxxxxQ", self.fd, offset))
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise

    def _batch(self, command: Command, size: int) -> tuple[Array, Array]:
        keys = np.empty(self.max_entries, dtype=self.key)
        values = np.empty((self.max_entries, size), dtype=np.uint8)

        def place(position: int, _capacity: int) -> tuple[int, int]:
            return keys[position:].ctypes.data, values[position:].ctypes.data

        count = sum(self._batches(command, size, place))
        return keys[:count], values[:count]

    def _batches(
        self, command: Command, size: int, place: Callable[[int, int], tuple[int, int]]
    ) -> Iterator[int]:
        """Read entries with values of ``size`` bytes. Yields the number of entries of each system call.

        ``place`` returns the addresses for the keys and values of the next ones, behind so many, up to as
        many. Raises OSError.
        """
        token = bytearray(max(self._key_size, 8))
        position, has_started = 0, False
        # At least a bucket's worth: a hash returns whole buckets, and ENOSPC if one does not fit.
        step = min(self.max_entries, max(4096, 4 * 1024 * 1024 // size))
        while position < self.max_entries:
            capacity = min(step, self.max_entries - position)
            attr = struct.pack(
                "QQQQIIQQ",
                address(token) if has_started else 0,
                address(token),
                *place(position, capacity),
                capacity,
                self.fd,
                0,
                0,
            )
            try:
                _, reply = bpf_inout(command, attr)
            except BpfError as error:
                if error.errno == errno.ENOENT:  # the end was reached, with what came before it
                    yield _count(error.attr)
                    return
                if error.errno == errno.ENOSPC and step < self.max_entries:
                    step = min(self.max_entries, step * 4)
                    continue
                raise
            position += _count(reply)
            has_started = True
            yield _count(reply)

    def _walk(self, size: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys and values, of ``size`` bytes, with two system calls for each."""
        count = 0
        key, value = bytearray(self._key_size), bytearray(size)
        next_key = bytearray(self._key_size)
        first = True
        while count < self.max_entries:
            key_address = 0 if first else address(key)
            try:
                bpf(Command.MAP_GET_NEXT_KEY, struct.pack("IxxxxQQ", self.fd, key_address, address(next_key)))
            except OSError as error:
                if error.errno == errno.ENOENT:
                    break
                raise
            key[:] = next_key
            first = False
            try:
                bpf(
                    Command.MAP_LOOKUP_ELEM, struct.pack("IxxxxQQQ", self.fd, address(key), address(value), 0)
                )
            except OSError as error:
                if error.errno == errno.ENOENT:
                    continue
                raise
            count += 1
            yield bytes(key), bytes(value)


def _count(attr: bytes) -> int:
    return int(struct.unpack_from("I", attr, 32)[0])
