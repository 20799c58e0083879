"""Find the descendants that processes have when their forks begin to be seen."""

from __future__ import annotations

import struct
from pathlib import Path

from pytracer.arrays import np
from pytracer.bpf.read.maps import Map
from pytracer.plan.initial_entries import TRACED, RunFacts, find_followed

_ROUNDS = 16  # in each, a process forked before it was found


def complete(followed: Map, run: RunFacts) -> None:
    """Add descendants to the map of followed processes, and delete those that ended.

    Programs add and delete processes already. One that they do not know may fork while others are looked up,
    so they are looked up until there is no new one. Of those that ended before it was seen, the kernel may
    give the id to another process.
    """
    for _ in range(_ROUNDS):
        found = find_followed(_read(followed), run)
        known = set(_read(followed))  # with those whose forks were seen meanwhile
        new = [process for process in found if process not in known and _exists(process)]
        for process in new:
            followed.update(struct.pack("I", process), TRACED)
        if not new:
            break
    ended = [process for process in _read(followed) if not _exists(process)]
    followed.delete(np.array(ended, dtype=followed.key))


def _read(followed: Map) -> list[int]:
    """Return the ids in the map."""
    keys: list[int] = followed.read()[0].tolist()
    return keys


def _exists(process: int) -> bool:
    return Path(f"/proc/{process}").exists()
