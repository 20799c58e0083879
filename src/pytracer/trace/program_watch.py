"""Watch the programs of this machine, of any owner, by the loop of every run (``pytracer prog``)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from pytracer.bpf.attach.link import Link
from pytracer.model import Item
from pytracer.prog.program_tables import ProgramTable
from pytracer.trace.clock import Clock, Schedule
from pytracer.trace.collector import Collector, ResultSource
from pytracer.trace.event_loop import EventLoop
from pytracer.trace.result_loop import results

_INTERVAL = 1.0  # seconds, by default


class ProgramCollector(Collector):
    """Reads the statistics of all programs at the end of each interval."""

    def __init__(self, table: ProgramTable, sort: str, top: int | None, *, summary: bool) -> None:
        """``sort`` is the column that ranks programs, ``top`` the number of rows; ``summary``: also read the
        statistics of the whole run."""
        self._table, self._sort, self._top, self._summary = table, sort, top, summary

    def start(self, _links: Sequence[Link], /) -> None:
        """Do nothing: the kernel counts already."""

    def read_interval(self, *, last: bool) -> Iterator[Item]:  # noqa: ARG002 - nothing is attached
        """See :class:`~pytracer.trace.collector.Collector`."""
        yield self._table.read("row", sort=self._sort, top=self._top)

    def read_summary(self) -> Iterator[Item]:
        """See :class:`~pytracer.trace.collector.Collector`."""
        if self._summary:
            yield self._table.read("summary", sort=self._sort, top=self._top)

    def close(self) -> None:
        """Do nothing: the table owns no descriptor."""


class ProgramWatch(ResultSource):
    """The statistics of all programs, as a run: it loses nothing, and ends with its time or a signal."""

    def __init__(self, collector: ProgramCollector) -> None:
        """Read by ``collector``."""
        self.collector = collector


def watch_programs(collector: ProgramCollector, times: Schedule, events: EventLoop) -> Iterator[Item]:
    """Yield the statistics of each interval (by default a second), until the end or a signal."""
    return results(
        ProgramWatch(collector),
        Clock(times, _INTERVAL, time.monotonic()),
        events,
        should_stop=lambda: events.stop_requested(command=False),
        end=lambda: None,
    )
