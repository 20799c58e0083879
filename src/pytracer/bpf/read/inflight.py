"""Remove in-flight calls (probes_c/include/calls.h) of tasks that have ended.

No program does this when a task ends: it would have to find all of the task's calls, and each call would pay
for a list of them. The leftovers take up room in the map, and do no other harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pytracer.arrays import Array, np
from pytracer.bpf.read.maps import Map
from pytracer.kernel.policy import in_initial_namespace

PAUSE = 1.0  # seconds between two sweeps; a call that began since the last one is not checked
_PROCESS = 1 << 32  # keys have the process in their target, above this, where calls end at instructions


class InflightCalls:
    """Sweeps the map ``pt_calls`` of a program."""

    def __init__(self, table: Map, proc: Path = Path("/proc")) -> None:
        """Watch the in-flight calls of a map."""
        self._unwound, self._is_over = 0, False
        self._table, self._proc = table, proc
        self._looked_at = time.monotonic()
        # In other PID namespaces, /proc has other thread ids than the kernel's.
        self._knows = in_initial_namespace("pid") is not False

    def sweep(self) -> None:
        """Remove calls of threads that have ended, if the last sweep is ``PAUSE`` ago."""
        now = time.monotonic()
        if not self._knows or now < self._looked_at + PAUSE:
            return
        previous_look, self._looked_at = self._looked_at, now
        if not self._table.is_empty:
            self._sweep(previous_look)

    def count_unwound(self, log: Callable[[str], None], *, is_over: bool) -> int:
        """Return how many calls of programs' functions ended with their threads, as far as they were found.

        With ``is_over``, no program runs any more: a last sweep finds all of them, and ``log`` gets the
        number of calls that have not returned yet.
        """
        if is_over and not self._is_over:
            self._is_over = True
            if not self._table.is_empty and self._knows:
                left = self._sweep(time.monotonic())
                log(f"{left} calls had not returned when the trace ended")
        return self._unwound

    def _sweep(self, started_before: float) -> int:
        keys, calls = self._table.read()
        # The idle threads (0) are not in /proc, and do not end. One that just ended may still be in a call.
        old_calls = (calls["ns"] < started_before * 1e9) & (calls["tid"] != 0)
        threads = np.unique(calls["tid"][old_calls]).tolist()
        exited = [tid for tid in threads if not (self._proc / str(tid)).exists()]
        exited_calls: Array = old_calls & np.isin(calls["tid"], exited)
        self._table.delete(keys[exited_calls])
        self._unwound += int(np.count_nonzero(keys["target"][exited_calls] >= np.uint64(_PROCESS)))
        return int(np.count_nonzero(~exited_calls))
