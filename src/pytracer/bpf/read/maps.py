"""Read BPF maps by their descriptors in bulk, into NumPy arrays of the C's own layout."""

from __future__ import annotations

import errno
import functools
import struct
from collections.abc import Callable, Iterable
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


@record
class Map:
    """A map that is open as ``fd``. ``types`` returns the dtypes of its key and value, ``members`` are the
    names of their members."""

    name: str
    fd: int
    type: int
    max_entries: int
    types: Callable[[], Types]
    members: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @classmethod
    def of(cls, spec: MapSpec, fd: int, max_entries: int) -> Map:
        """Return the map that was created from ``spec``."""

        def types() -> Types:
            return dtype_of(spec.key_type, spec.key_size), dtype_of(spec.value_type, spec.value_size)

        members = members_of(spec.key_type), members_of(spec.value_type)
        return cls(spec.name, fd, spec.type, max_entries, types, members)

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

    def read(self) -> tuple[Array, Array]:
        """Read all entries: keys of shape (n,), values of shape (n,), or (n, cpus) for per-CPU maps.

        Takes one system call for thousands of entries if the kernel has MAP_LOOKUP_BATCH (Linux 5.6, for
        per-CPU arrays 5.13); else one for each. Entries added meanwhile may or may not be included.
        """
        return self._read_with(Command.MAP_LOOKUP_BATCH)

    def drain(self) -> tuple[Array, Array]:
        """Read all entries of a hash as ``read`` does, and delete them.

        No program may use the map meanwhile: an update of an entry that is being deleted would be lost. Uses
        MAP_LOOKUP_AND_DELETE_BATCH (Linux 5.6), else two system calls for each entry.
        """
        return self._read_with(Command.MAP_LOOKUP_AND_DELETE_BATCH)

    @property
    def is_empty(self) -> bool:
        """True if a hash has no entry now."""
        key = bytearray(max(self.key.itemsize, 8))
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
        cpus = possible_cpus() if self.is_per_cpu else 1
        stride = -(-self.value.itemsize // 8) * 8 if self.is_per_cpu else self.value.itemsize
        try:
            keys, raw = self._batch(command, stride * cpus)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, policy.ENOTSUPP):
                raise
            keys, raw = self._walk(stride * cpus)
            if command is Command.MAP_LOOKUP_AND_DELETE_BATCH:
                self.delete(keys)
        size = self.value.itemsize
        trimmed = raw.reshape(-1, cpus, stride)[:, :, :size]
        values = np.ascontiguousarray(trimmed).view(self.value).reshape(-1, cpus)
        return keys, values if self.is_per_cpu else values[:, 0]

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
        token = bytearray(max(self.key.itemsize, 8))
        position, has_started = 0, False
        # At least a bucket's worth: a hash returns whole buckets, and ENOSPC if one does not fit.
        step = min(self.max_entries, max(4096, 4 * 1024 * 1024 // size))
        while position < self.max_entries:
            capacity = min(step, self.max_entries - position)
            attr = struct.pack(
                "QQQQIIQQ",
                address(token) if has_started else 0,
                address(token),
                keys[position:].ctypes.data,
                values[position:].ctypes.data,
                capacity,
                self.fd,
                0,
                0,
            )
            try:
                _, reply = bpf_inout(command, attr)
            except BpfError as error:
                if error.errno == errno.ENOENT:  # the end was reached, with what came before it
                    return keys[: position + _count(error.attr)], values[: position + _count(error.attr)]
                if error.errno == errno.ENOSPC and step < self.max_entries:
                    step = min(self.max_entries, step * 4)
                    continue
                raise
            position += _count(reply)
            has_started = True
        return keys[:position], values[:position]

    def _walk(self, size: int) -> tuple[Array, Array]:
        keys: list[bytes] = []
        values: list[bytes] = []
        key, value = bytearray(self.key.itemsize), bytearray(size)
        previous_key = bytearray(self.key.itemsize)
        first = True
        while len(keys) < self.max_entries:
            key_address = 0 if first else address(key)
            try:
                bpf(
                    Command.MAP_GET_NEXT_KEY,
                    struct.pack("IxxxxQQ", self.fd, key_address, address(previous_key)),
                )
            except OSError as error:
                if error.errno == errno.ENOENT:
                    break
                raise
            key[:] = previous_key
            first = False
            try:
                bpf(
                    Command.MAP_LOOKUP_ELEM, struct.pack("IxxxxQQQ", self.fd, address(key), address(value), 0)
                )
            except OSError as error:
                if error.errno == errno.ENOENT:
                    continue
                raise
            keys.append(bytes(key))
            values.append(bytes(value))
        return (
            np.frombuffer(b"".join(keys), dtype=self.key),
            np.frombuffer(b"".join(values), dtype=np.uint8).reshape(-1, size),
        )


def _count(attr: bytes) -> int:
    return int(struct.unpack_from("I", attr, 32)[0])
