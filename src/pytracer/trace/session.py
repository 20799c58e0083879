"""Run a plan: load, fill the maps, attach, collect, close."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence

from pytracer import budget
from pytracer.bpf import process_mark
from pytracer.bpf.attach.link import Link
from pytracer.kernel import compat
from pytracer.model import Histograms, Item, Loss, Totals
from pytracer.plan import Plan
from pytracer.plan.initial_entries import FOLLOWED, UNKNOWN_RUN, RunFacts
from pytracer.trace.collector import ResultSource, find_map, open_collector
from pytracer.trace.link_set import LinkSet
from pytracer.trace.loss_counter import LossCounter
from pytracer.trace.program_loading import load_plan

_TOTALS = "totals"


def discard_line(_line: str) -> None:
    """Ignore a message."""


class Session(ResultSource):
    """A running plan. Closing it, or the end of the process, leaves nothing behind.

    ``collector`` reads the results, ``loaded`` are the programs with their module. ``started`` is the time
    from which on all programs were attached, of the monotonic clock.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        run: RunFacts = UNKNOWN_RUN,
        stop_requested: Callable[[], bool] = lambda: False,
        before_attach: Callable[[], None] = lambda: None,
        log: Callable[[str], None] = discard_line,
        warn: Callable[[str], None] = discard_line,
        keep_rows: bool = False,
    ) -> None:
        """Load, fill maps and attach.

        Args:
            plan: what to run.
            run: the facts that entries of maps depend on.
            stop_requested: returns True to give up compiling.
            before_attach: is called when all is ready but the attachments.
            log: gets a line for each step (``-v``). warn: gets warnings for the user.
            keep_rows: leave rows in the kernel as they are read.

        Raises:
            PytracerError: what :mod:`pytracer.errors` lists for each step.
        """
        self.plan = plan
        self._run = run
        for warning in (
            *plan.hooks.warnings,
            *plan.targets.warnings,
            *compat.warnings(plan.targets.names, plan.request),
        ):
            warn(warning)
        charged = budget.claim(warn)
        self.loaded = load_plan(plan, log=log, warn=warn, stop_requested=stop_requested)
        self._links = LinkSet(plan, run, log, warn)
        self._mark = -1
        self._resources = contextlib.ExitStack()
        self._resources.callback(self._close_mark)  # last
        self._resources.callback(self.loaded.module.close)
        try:
            self._mark = process_mark.set_mark(plan.request.tracer.name, self.loaded.programs.values())
            module = self.loaded.module
            self.collector = open_collector(
                plan, module.maps, warn, charged, drain=not keep_rows, readers=module.readers
            )
            self._resources.callback(self.collector.close)
            self._losses = LossCounter(self.loaded, self._links, self.collector, log)
            self._fill()
            before_attach()
            self._links.attach(self.loaded.programs)
            if plan.request.roots:
                from pytracer.trace import descendants

                descendants.complete(find_map(plan, self.loaded.module.maps, FOLLOWED), run)
            self.started = time.monotonic()
            self.collector.start(self._links.attached)
        except BaseException:
            self.close()
            raise

    @property
    def links(self) -> Sequence[Link]:
        """The links of attached programs; empty once they are detached."""
        return self._links.attached

    def poll(self) -> None:
        """Collect data that may be gone when results are read."""
        self.collector.poll()
        self._losses.poll()

    def read_interval(self, *, last: bool) -> Iterator[Item]:
        """Yield the results that an interval has at its end. Before the ``last``, programs are detached."""
        self._fill(again=True)
        if not last:
            self._links.run_repeated()
        yield from self.collector.read_interval(last=last)

    def read_summary(self) -> Iterator[Item]:
        """Yield the results of the whole run, after programs are detached."""
        self._fill(again=True)
        has_calls = self.plan.schema.is_stream  # whose events have been read
        for item in self.collector.read_summary():
            has_calls = has_calls or (isinstance(item, Histograms) and len(item) > 0)
            yield item
        if self.plan.request.tracer.totals:
            yield self._totals()
        if has_calls and self.plan.request.tracer.measures_calls:
            from pytracer.trace.call_overhead import measure_overhead

            overhead = measure_overhead(self.plan)
            if overhead is not None:
                yield overhead

    def _totals(self) -> Totals:
        """Read the numbers about the whole run."""
        columns = self.plan.request.tracer.totals
        _, values = find_map(self.plan, self.loaded.module.maps, _TOTALS).read()
        counts = {column.name: int(values[column.source].sum()) for column in columns}
        return Totals(counts, {column.name: column.help for column in columns}, time.time())

    def losses(self) -> Iterator[Loss]:
        """Yield the losses since the last call, by reason."""
        return self._losses.read()

    def check_links(self) -> bool:
        """Warn of targets that were removed. Returns False once none is left, or all is detached."""
        return self._links.check()

    def detach(self) -> None:
        """Detach all programs; their results can still be read."""
        if self._links.attached:
            self.collector.prepare_detach()
            self._links.detach()

    def close(self) -> None:
        """Detach, and close programs and maps."""
        try:
            self.detach()
            self._links.close()  # what was counted has been shown: this may take its time
        finally:
            self._resources.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self, *, again: bool = False) -> None:
        """Write the plan's entries into the maps; ``again``: those that may have changed."""
        maps = self.loaded.module.maps
        for initial in self.plan.initial_entries:
            if (again and not initial.is_refreshed) or (initial.is_optional and initial.map not in maps):
                continue
            table = find_map(self.plan, maps, initial.map)
            for key, value in initial.entries(self._run):
                table.update(key, value)

    def _close_mark(self) -> None:
        if self._mark >= 0:
            os.close(self._mark)
            self._mark = -1
