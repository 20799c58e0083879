"""Read the stacks that the kernel stores by id (probes_c/include/stack.h), and their processes."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Mapping
from typing import NamedTuple

from pytracer.arrays import Array, np
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import Command, address, bpf

_MORE = 1 << 30  # PT_STACK_SECOND: a number of the second map
DEPTH = 127  # PERF_MAX_STACK_DEPTH


class SampledProcess(NamedTuple):
    """A sampled process (struct pt_image): its current ``image`` and ``generation``, its number of
    ``samples``, and when it last ``moved`` code (0: never)."""

    image: int
    generation: int
    samples: int
    moved: int = 0


class StackMaps:
    """The maps ``stacks``, ``stacks_second`` and ``images`` of a program."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        """Find the maps. Raises KeyError if the program has none."""
        self._maps = maps["stacks"], maps["stacks_second"]
        self._images, self._epochs = maps["images"], maps["epochs"]
        self._known: dict[int, Array] = {}

    def frames(self, number: int) -> Array:
        """Return the addresses of a stack, innermost first, uint64 of shape (n,), n <= DEPTH; none for an id
        < 0.

        An id belongs to one stack, from its first sample to the end.
        """
        if number < 0:
            return np.zeros(0, np.uint64)
        if number not in self._known:
            table = self._maps[bool(number & _MORE)]
            key, value = bytearray(struct.pack("I", number & ~_MORE)), bytearray(8 * DEPTH)
            bpf(Command.MAP_LOOKUP_ELEM, struct.pack("IxxxxQQQ", table.fd, address(key), address(value), 0))
            frames = np.frombuffer(bytes(value), np.uint64)
            # A return address may be 0, where there is no frame pointer; behind the end all are.
            self._known[number] = frames[: int(np.flatnonzero(frames).max(initial=-1)) + 1]
        return self._known[number]

    def images(self) -> dict[int, SampledProcess]:
        """Return the processes sampled so far, by process id."""
        keys, values = self._images.read()
        columns = [values[name].tolist() for name in SampledProcess._fields]
        return dict(zip(keys.tolist(), map(SampledProcess, *columns), strict=True))

    def begin_epoch(self, pid: int, since: int) -> None:
        """Use this time as the generation of later samples of a process, unless it has a younger one."""
        with contextlib.suppress(OSError):  # the map may be full
            self._epochs.update(struct.pack("I", pid), struct.pack("Q", since))

    def generation(self, pid: int) -> int:
        """Return the generation of a process; 0 if it was not sampled."""
        key, value = bytearray(struct.pack("I", pid)), bytearray(self._images.value.itemsize)
        lookup_attr = struct.pack("IxxxxQQQ", self._images.fd, address(key), address(value), 0)
        with contextlib.suppress(OSError):
            bpf(Command.MAP_LOOKUP_ELEM, lookup_attr)
            return int(np.frombuffer(value, self._images.value)["generation"][0])
        return 0
