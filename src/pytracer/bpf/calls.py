"""Calls that are under way (probes_c/include/calls.h), and what becomes of those whose task has ended.

No program sees to that as a task ends: it would have to find all of the task's calls, and each call would pay
for a list of them. What is left takes up room, and does no other harm.
"""

from __future__ import annotations

import time
from pathlib import Path

from pytracer.arrays import np
from pytracer.bpf.maps import Map
from pytracer.kernel.policy import in_initial_namespace

PAUSE = 1.0  # seconds between two looks; a call that began since the last one is left alone


class Calls:
    """The map ``pt_calls`` of a program."""

    def __init__(self, table: Map, proc: Path = Path("/proc")) -> None:
        """Nothing is looked at yet."""
        self._table, self._proc = table, proc
        self._looked_at = time.monotonic()
        # Elsewhere threads have other numbers than the kernel's.
        self._knows = in_initial_namespace("pid") is not False

    def sweep(self) -> None:
        """Take out calls of threads that are no more, if it is time to."""
        now = time.monotonic()
        if not self._knows or now < self._looked_at + PAUSE:
            return
        before, self._looked_at = self._looked_at, now
        if self._table.empty:
            return
        keys, calls = self._table.read()
        # The idle threads (0) are not in /proc, and do not end. One that just ended may still be in a call.
        old = (calls["ns"] < before * 1e9) & (calls["tid"] != 0)
        threads = np.unique(calls["tid"][old]).tolist()
        ended = [tid for tid in threads if not (self._proc / str(tid)).exists()]
        self._table.delete(keys[old & np.isin(calls["tid"], ended)])
