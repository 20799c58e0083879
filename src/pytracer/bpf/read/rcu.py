"""Waiting until every program that runs now has ended: what was changed before, the next ones will see.

The kernel runs programs as readers of its RCU, also where they may be preempted (at trace events since Linux
7.0: a46023d5616e, f7d327654b88): to wait for them is to wait for a grace period, some milliseconds. No system
call is for that alone, but two do it on their way. Programs that may sleep are not waited for; pytracer has
none.

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
    """A way to wait. ``wait`` returns once all programs that ran when it was called have ended."""

    def __init__(self, wait: Callable[[], None], *descriptors: int) -> None:
        """``descriptors`` are closed with it."""
        self.wait = wait
        self._descriptors = descriptors

    def close(self) -> None:
        """Let go of what it needed."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()


def open_grace_period() -> GracePeriod | None:
    """The way that this kernel has, or None."""
    return by_map() or by_membarrier()


def by_map() -> GracePeriod | None:
    """To put a map into a map waits for the programs that may use the one it replaces, whoever they are."""
    made: list[int] = []
    try:
        # Linux 4.20 (1ae80cf31938) made it wait. Maps of maps are older; queues came with the same release.
        made.append(map_create(MapType.QUEUE, 0, 4, 1))
        made.append(map_create(MapType.ARRAY, 4, 4, 1))
        made.append(map_create(MapType.ARRAY_OF_MAPS, 4, 4, 1, inner=made[-1]))
    except OSError:
        for descriptor in made:
            os.close(descriptor)
        return None
    _, inner, outer = made
    key, value = bytearray(4), bytearray(struct.pack("I", inner))

    def wait() -> None:
        bpf(Command.MAP_UPDATE_ELEM, struct.pack("IxxxxQQQ", outer, address(key), address(value), 0))

    return GracePeriod(wait, *made)


def by_membarrier() -> GracePeriod | None:
    """A barrier on all CPUs at once is a grace period, where there are several; nohz_full kernels refuse."""
    try:
        offered = membarrier(_QUERY)
    except OSError:
        return None
    if not offered & _GLOBAL or len(online_cpus()) < 2:
        return None

    def wait() -> None:
        membarrier(_GLOBAL)

    return GracePeriod(wait)
