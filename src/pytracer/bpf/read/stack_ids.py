"""Read the stacks that the kernel stores by id (probes_c/include/stack.h), and their processes."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Mapping
from typing import NamedTuple

from pytracer.arrays import np
from pytracer.bpf.read.maps import Map
from pytracer.bpf.read.python_names import read_new
from pytracer.symbols.python import FunctionNames
from pytracer.symbols.unwind.stack import Stack, WalkEnd

_SECOND = 1 << 30  # PT_STACK_SECOND: an id of the second map
_UNWOUND = 1 << 29  # PT_STACK_UNWOUND: an id of the map of stacks that were walked by tables
DEPTH = 127  # PERF_MAX_STACK_DEPTH, PT_UNWOUND_DEPTH


class SampledProcess(NamedTuple):
    """A sampled process (struct pt_image): its current ``image`` and ``generation``, its number of
    ``samples``, and when it last ``moved`` code (0: never)."""

    image: int
    generation: int
    samples: int
    moved: int = 0


class StackMaps:
    """The maps ``stacks``, ``stacks_second``, ``unwound`` and ``images`` of a program."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        """Find the maps. Raises KeyError if the program has none."""
        self._maps = maps["stacks"], maps["stacks_second"]
        self._unwound, self._python_names = maps.get("unwound"), maps.get("python_names")
        self.functions = FunctionNames()
        """The Python functions in stacks, as of the last :meth:`read_functions`."""
        self._images, self._epochs = maps["images"], maps["epochs"]
        self._known: dict[int, Stack] = {}

    def stack(self, number: int) -> Stack:
        """Return a stack; one without frames for an id < 0.

        An id belongs to one stack, from its first sample to the end.
        """
        if number < 0:
            return Stack(np.zeros(0, np.uint64), WalkEnd.FALLBACK)
        if number not in self._known:
            self._known[number] = self._read_unwound(number) if number & _UNWOUND else self._read(number)
        return self._known[number]

    def _read(self, number: int) -> Stack:
        """Read a stack that the kernel walked."""
        table = self._maps[bool(number & _SECOND)]
        frames = np.frombuffer(table.look_up(number & ~_SECOND, 8 * DEPTH), np.uint64)
        # A return address may be 0, where there is no frame pointer; behind the end all are.
        frames = frames[: int(np.flatnonzero(frames).max(initial=-1)) + 1]
        return Stack(frames, WalkEnd.DEPTH if len(frames) >= DEPTH else WalkEnd.FALLBACK)

    def _read_unwound(self, number: int) -> Stack:
        """Read a stack that was walked by tables."""
        assert self._unwound is not None
        stack = np.frombuffer(self._unwound.look_up(number & ~_UNWOUND), self._unwound.value)[0]
        return Stack(stack["frames"][: int(stack["count"])], WalkEnd(int(stack["end"])))

    def read_functions(self) -> None:
        """Read the names of the Python functions that stacks have, as far as they are new."""
        if self._python_names is not None:
            read_new(self._python_names, self.functions)

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
        with contextlib.suppress(OSError):
            return int(np.frombuffer(self._images.look_up(pid), self._images.value)["generation"][0])
        return 0
