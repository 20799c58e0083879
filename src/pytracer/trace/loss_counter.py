"""Count losses by reason."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pytracer.bpf.builder import LoadedPrograms
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import recursion_misses
from pytracer.model import Loss
from pytracer.model.loss import MISSED, MISSED_MEANING, REASONS, RING_FULL, TRUNCATED, UNWOUND
from pytracer.trace.collector import Collector
from pytracer.trace.link_set import LinkSet

if TYPE_CHECKING:
    from pytracer.bpf.read.inflight import InflightCalls

_LOSSES = "pt_losses"  # probes_c/include/loss.h
_RECURSIONS = "pt_recursions"  # probes_c/include/mapping.h
_READINGS = 5  # of two counts that belong together, at most


class LossCounter:
    """Adds up the losses that programs, links and the collector count, and reports increases."""

    def __init__(
        self,
        loaded_programs: LoadedPrograms,
        links: LinkSet,
        collector: Collector,
        log: Callable[[str], None],
    ) -> None:
        """Count from now on; ``log`` gets the number of calls that had not returned at the end."""
        self._table = loaded_programs.module.maps.get(_LOSSES)
        self._recursions = loaded_programs.module.maps.get(_RECURSIONS)
        self._programs, self._links, self._collector = loaded_programs.programs, links, collector
        self._log = log
        calls = loaded_programs.module.maps.get("pt_calls")
        self.calls: InflightCalls | None = None
        if calls is not None:
            from pytracer.bpf.read.inflight import InflightCalls

            self.calls = InflightCalls(calls)
        self._reported: dict[str, int] = {}

    def poll(self) -> None:
        """Remove in-flight calls of threads that have ended, if it is due; they count as unwound."""
        if self.calls is not None:
            self.calls.sweep()

    def read(self) -> Iterator[Loss]:
        """Yield the losses since the last call, by reason."""
        for reason, count in self._counts().items():
            new = count - self._reported.get(reason, 0)
            self._reported[reason] = count
            if new:
                yield Loss(reason, new, REASONS.get(reason, MISSED_MEANING), time.time())

    def _counts(self) -> dict[str, int]:
        counts = dict.fromkeys(REASONS, 0)
        if self._table is not None:
            counts = dict(zip(REASONS, _sums(self._table), strict=True))
        # Before Linux 5.1 (56201969114f) the kernel does not tell the C.
        counts[RING_FULL] = max(counts[RING_FULL], self._collector.lost)
        counts[TRUNCATED] += self._collector.truncated
        counts[MISSED] = self._missed() + self._links.missed
        if self.calls is not None:
            counts[UNWOUND] += self.calls.count_unwound(self._log, is_over=not self._links.attached)
        return counts

    def _missed(self) -> int:
        """Count the runs of programs that the kernel skipped, without those that a run itself had caused."""
        caused = self._caused()
        for _ in range(_READINGS):
            misses = sum(map(recursion_misses, self._programs.values()))
            previous, caused = caused, self._caused()
            if caused == previous:  # else runs went on between the two readings, and they do not fit
                break
        return max(misses - caused, 0)

    def _caused(self) -> int:
        return 0 if self._recursions is None else sum(_sums(self._recursions))


def _sums(table: Map) -> Iterator[int]:
    """Yield the sum of the CPUs' numbers for each entry of an array."""
    for _, value in table.entries():
        yield sum(struct.unpack(f"={len(value) // 8}Q", value))
