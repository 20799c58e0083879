"""Keep unwind tables, and the code that processes have mapped, in the kernel (probes_c/include/unwind.h)."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence

from pytracer.arrays import Array, np
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import Command, MapType, bpf, map_create

REGION = np.dtype([("start", "u8"), ("end", "u8"), ("bias", "u8"), ("table", "u4"), ("rows", "u4")])
"""A mapping of code (struct pt_unwind_region): an address minus ``bias`` is what rows begin with."""
NO_TABLE = 0xFFFFFFFF
"""The ``table`` of a region whose code has none: frame pointers serve there."""
PART = np.dtype([("device", "u8"), ("inode", "u8"), ("changed", "u8"), ("offset", "u8")])
"""A part of a file that is mapped as code (struct pt_unwind_part), as the kernel identifies it: its device as
``major << 20 | minor``, its ctime in nanoseconds, and the offset, which begins a page."""
CODE = np.dtype([("start", "u8"), ("table", "u4"), ("rows", "u4")])
"""The table of a part (struct pt_unwind_code); its first byte is at ``start`` for the table's rows."""
_INNER_MAP = 1 << 12  # BPF_F_INNER_MAP


def has_unwinder(maps: Mapping[str, Map]) -> bool:
    """Return whether a program walks user stacks by tables."""
    return "unwind_tables" in maps


class UnwindMaps:
    """The maps of a program that walks user stacks by tables."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        """Find the maps, and give the hash of stacks a random start. Raises KeyError if there are none."""
        self._tables, self._spaces = maps["unwind_tables"], maps["unwind_spaces"]
        self._ends, self._pythons = maps["unwind_ends"], maps["unwind_pythons"]
        self._files = maps.get("unwind_files")  # where the kernel has bpf_find_vma()
        self._found = maps.get("unwind_found")
        self._free = list(reversed(range(self._tables.max_entries)))
        self._set_seed(maps["unwind_states"])

    @property
    def space_limit(self) -> int:
        """The maximum number of processes (map capacity)."""
        return self._spaces.max_entries

    @property
    def has_room(self) -> bool:
        """True if there is room for another table."""
        return bool(self._free)

    def reserve_table(self) -> int:
        """Return the number that the next table will have. The caller checks ``has_room`` before."""
        return self._free.pop()

    def set_tables(self, tables: Mapping[int, Array]) -> None:
        """Load tables (ROW, each of shape (n,), n > 0) into the kernel, by their numbers.

        Raises OSError, also for want of memory; then frame pointers serve where their regions refer to them.
        """
        _set_inner(self._tables, np.array(list(tables), np.uint32), list(tables.values()))

    def drop_table(self, number: int) -> None:
        """Remove a table that no region of a living process refers to."""
        self._tables.delete(np.array([number], np.uint32))
        self._free.append(number)

    def set_parts(self, parts: Array, code: Array) -> None:
        """Set the tables (CODE) of parts of files (PART), both of shape (n,), for processes that are not
        known yet. Raises OSError if there is no room."""
        if self._files is not None:
            _update_batch(self._files.fd, parts, code)

    def drop_parts(self, parts: Array) -> None:
        """Forget parts of files (PART, shape (n,)); needed before their table is dropped."""
        if self._files is not None and len(parts):
            self._files.delete(parts)

    def forget_found(self) -> None:
        """Forget the regions that the kernel found by itself, in processes that were not known then."""
        if self._found is not None:
            keys, _ = self._found.read()
            self._found.delete(keys)

    def set_spaces(self, spaces: Mapping[int, Array]) -> None:
        """Set the regions (REGION, sorted by address) of processes, by their images. Raises OSError."""
        headed = []
        for regions in spaces.values():
            header = np.zeros(1, REGION)
            header["rows"] = len(regions)
            headed.append(np.concatenate((header, regions)))
        _set_inner(self._spaces, np.array(list(spaces), np.uint64), headed)

    def set_python(self, image: int, python: bytes) -> None:
        """Set where the interpreter of a process is (struct pt_python). Raises OSError if it has no room."""
        self._pythons.update(struct.pack("Q", image), python)

    def drop_space(self, image: int) -> None:
        """Forget a process."""
        images = np.array([image], np.uint64)
        self._spaces.delete(images)
        self._pythons.delete(images)

    def count_ends(self) -> Array:
        """Return how many stacks ended for each reason so far, by enum pt_rule, uint64 of shape (n,)."""
        _, counts = self._ends.read()
        total: Array = counts.sum(axis=1, dtype=np.uint64)
        return total

    def _set_seed(self, states: Map) -> None:
        """Set the start of the hash in each state of each CPU."""
        keys, values = states.read()
        values["seed"] = int.from_bytes(os.urandom(8), "little")
        for key, value in zip(keys, values, strict=True):
            states.update(key.tobytes(), value.tobytes())


def _set_inner(outer: Map, keys: Array, contents: Sequence[Array]) -> None:
    """Set entries of a map of maps to new arrays, at once, since the kernel waits for running programs."""
    inner = list[int]()
    try:
        for elements in contents:
            inner.append(map_create(MapType.ARRAY, 4, elements.itemsize, len(elements), _INNER_MAP))
            _update_batch(inner[-1], np.arange(len(elements), dtype=np.uint32), elements)
        _update_batch(outer.fd, keys, np.array(inner, np.uint32))
    finally:
        for descriptor in inner:
            os.close(descriptor)


def _update_batch(fd: int, keys: Array, values: Array) -> None:
    if not len(keys):
        return
    values = np.ascontiguousarray(values)
    bpf(
        Command.MAP_UPDATE_BATCH,
        struct.pack("QQQQIIQQ", 0, 0, keys.ctypes.data, values.ctypes.data, len(keys), fd, 0, 0),
    )
