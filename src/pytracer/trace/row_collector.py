"""Collect rows: tables and histograms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pytracer.bpf.attach.link import Link
from pytracer.bpf.read.aggregates import AggregateReader
from pytracer.bpf.read.maps import Map
from pytracer.budget import Budget
from pytracer.model import Item
from pytracer.plan import Plan
from pytracer.trace.collector import Collector, find_map

if TYPE_CHECKING:
    from pytracer.trace.decoder import ResultDecoder, Symbolize


class RowCollector(Collector):
    """Reads rows at the end of each interval, and drains them meanwhile."""

    def __init__(
        self,
        plan: Plan,
        maps: Mapping[str, Map],
        warn: Callable[[str], None],
        budget: Budget,
        *,
        drain: bool,
    ) -> None:
        """Create the collector. See :func:`~pytracer.trace.collector.open_collector`."""
        self._plan, self._warn, self._budget = plan, warn, budget
        self._table = find_map(plan, maps, plan.schema.output.map)
        self._aggregates = AggregateReader(plan.schema, maps, drain=drain)
        self._decoder: ResultDecoder | None = None
        self._symbolize: Symbolize | None = None  # for stacks
        self._started = self._read_at = self._ended = 0.0

    @property
    def poll_interval(self) -> float | None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return self._aggregates.poll_interval

    def start(self, _links: Sequence[Link], /) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        self._started = self._read_at = time.monotonic()
        from pytracer.trace.decoder import ResultDecoder

        self._decoder = ResultDecoder(self._plan, self._table, self._warn, self._budget, self._symbolize)

    def drain_rows(self) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        self._aggregates.drain_rows()

    def read_interval(self, *, last: bool) -> Iterator[Item]:
        """See :class:`~pytracer.trace.collector.Collector`."""
        assert self._decoder is not None, "nothing is read before programs are attached"
        now = self._ended or time.monotonic()
        rows, seconds = self._aggregates.read_interval(detached=last), now - self._read_at
        self._read_at = now
        yield self._decoder.decode_rows(rows, "row", seconds)

    def read_summary(self) -> Iterator[Item]:
        """See :class:`~pytracer.trace.collector.Collector`."""
        assert self._decoder is not None, "nothing is read before programs are attached"
        now = self._ended or time.monotonic()
        rows, seconds = self._aggregates.read_total(detached=True), now - self._started
        yield self._decoder.decode_rows(rows, "summary", seconds)

    def prepare_detach(self) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        self._ended = time.monotonic()

    def close(self) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        if self._decoder is not None:
            self._decoder.close()
        self._aggregates.close()
