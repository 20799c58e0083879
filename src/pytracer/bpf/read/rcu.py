"""Wait until every running program has ended, so that later runs see the changes made before.

The kernel runs programs as RCU readers, even if they can be preempted (at trace events since Linux 7.0:
a46023d5616e, f7d327654b88): waiting for them means waiting for a grace period, some milliseconds. No system
call does only that, but two do it on their way. Sleepable programs are not waited for; pytracer has none.

See "Rows" in docs/internals.md.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

from pytracer.bpf.sys import Command, MapType, address, bpf, map_create, membarrier
from pytracer.kernel.cpus import online_cpus

_QUERY, _GLOBAL = 0, 1  # enum membarrier_cmd


class GracePeriod:
    """A way to wait. ``wait`` returns once all programs that were running when it was called have ended."""

    def __init__(self, wait: Callable[[], None], *descriptors: int) -> None:
        """Own ``descriptors``, which are closed with it."""
        self.wait = wait
        self._descriptors = descriptors

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()


def open_grace_period() -> GracePeriod | None:
    """Return the way to wait that this kernel has, or None."""
    return wait_by_map() or wait_by_membarrier()


def wait_by_map() -> GracePeriod | None:
    """Wait by an update of a map of maps: it waits for programs that may use the replaced map, and so for
    all."""
    descriptors: list[int] = []
    try:
        # Linux 4.20 (1ae80cf31938) made it wait. Maps of maps are older; queues came with the same release.
        descriptors.append(map_create(MapType.QUEUE, 0, 4, 1))
        descriptors.append(map_create(MapType.ARRAY, 4, 4, 1))
        descriptors.append(map_create(MapType.ARRAY_OF_MAPS, 4, 4, 1, inner=descriptors[-1]))
    except OSError:
        for descriptor in descriptors:
            os.close(descriptor)
        return None
    _, inner, outer = descriptors
    key, value = bytearray(4), bytearray(struct.pack("I", inner))

    def wait() -> None:
        bpf(Command.MAP_UPDATE_ELEM, struct.pack("IxxxxQQQ", outer, address(key), address(value), 0))

    return GracePeriod(wait, *descriptors)


def wait_by_membarrier() -> GracePeriod | None:
    """Wait by membarrier(2) on all CPUs, which is a grace period if there are several CPUs. Kernels with
    nohz_full refuse it."""
    try:
        offered = membarrier(_QUERY)
    except OSError:
        return None
    if not offered & _GLOBAL or len(online_cpus()) < 2:
        return None

    def wait() -> None:
        membarrier(_GLOBAL)

    return GracePeriod(wait)
