"""Compare the counts of a trace with a counter that the kernel maintains by itself.

The kernel's counter is read before and after programs are attached, and before and after they are
detached: it counted at least what lies between the inner readings, and at most what lies between the outer.
"""

from __future__ import annotations

import sys
import time

from pytracer.kernel.counters import COUNTERS, CounterScope
from pytracer.model import AuditResult, Histograms, Item, Loss, Statement
from pytracer.request import Request
from pytracer.spec import Filter


class Auditor:
    """Reads the counter of a request's tracer, and adds up the items of its trace."""

    def __init__(self, request: Request) -> None:
        audit = request.tracer.audit
        assert audit is not None, "the request is refused"
        self._audit, self._counter = audit, COUNTERS[audit.counter]
        names = () if 0 in request.interfaces else tuple(request.interfaces.values())
        netns = (int.from_bytes(key, sys.byteorder) for key in request.filters.get(Filter.NETNS, ()))
        self._scope = CounterScope(interfaces=names, netns=tuple(netns))
        self._readings: list[int] = []
        self._seen = self._lost = 0

    def read(self) -> None:
        """Read the counter, before and after attaching and detaching. Later calls do nothing."""
        if len(self._readings) < 4:
            self._readings.append(self._counter.read(self._scope))

    def add(self, item: Item) -> None:
        """Count an item in. Rows of intervals are repeated in the summary, so they are not counted."""
        if isinstance(item, Loss):
            self._lost += item.lost
        elif isinstance(item, Histograms):
            if item.kind == "summary":
                self._seen += int(item.counts.sum())
        elif not isinstance(item, Statement) and item.kind != "row":
            column = self._audit.column
            self._seen += int(item.table()[column].sum()) if column else len(item)  # type: ignore[union-attr]

    def result(self) -> AuditResult:
        """Compare. Everything is detached, and all items were added."""
        count_before, count_attached, count_detaching, count_after = self._readings
        return AuditResult(
            self._counter.source,
            self._seen,
            self._lost,
            count_detaching - count_attached,
            count_after - count_before,
            self._audit.tolerance,
            time.time(),
        )
