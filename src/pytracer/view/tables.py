"""The view of results that come by intervals: tables, histograms and stacks."""

from __future__ import annotations

import itertools
import operator
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytracer.arrays import Array, np
from pytracer.model import Batch, Histograms, Schema, Snapshot
from pytracer.model.tabular import nanoseconds_of
from pytracer.sinks.formatting import clock
from pytracer.spec import Column, Histogram, Unit
from pytracer.view.base import View
from pytracer.view.select import column_of, ranks, take
from pytracer.view.whole_run import WholeRun

INTERVALS = 600  # that are kept
_ROWS = 400_000  # of all intervals that are kept, at most
_TREND = 16  # intervals
WHOLE_RUN = -1
"""A place in time: all intervals so far, added up."""


class TableView(View):
    """The rows of one interval: the newest one, unless it is paused."""

    def __init__(self, schema: Schema) -> None:
        """See :class:`~pytracer.view.base.View`. Histograms have a column for each percentile, too."""
        super().__init__(schema)
        if isinstance(schema.output, Histogram):
            self.columns += tuple(schema.output.percentiles.values())
        self._items: deque[Snapshot | Histograms] = deque()
        self._first = 0  # the number of the oldest interval that is kept
        self._at: int | None = None  # that of the one that is shown; None: the newest
        self._order: tuple[tuple[object, ...], Array] | None = None  # what it was made for; numbers of rows
        self._whole = WholeRun(schema) if WholeRun.can_add(schema) else None
        self._added = 0  # the number of the first interval that is not added to the whole run
        self._places: dict[int, dict[Any, int]] = {}  # by the number of the interval: the row of a key

    def _keep(self, item: Batch | Snapshot | Histograms) -> None:
        assert not isinstance(item, Batch), "a table has no events"
        self._items.append(item)
        row_count = sum(map(len, self._items))
        while len(self._items) > INTERVALS or (row_count > _ROWS and len(self._items) > 2):
            self._add_up(self._first + 1)
            row_count -= len(self._items.popleft())
            self._places.pop(self._first, None)
            self._first += 1
            if self._at is not None and self._at != WHOLE_RUN:
                self._at = max(self._at, self._first)
        if item.kind == "row":
            total = sum(value or 0 for value in self._numbers(item))
            self.rates.append(total / max(item.seconds, 1e-9))

    def _numbers(self, item: Snapshot | Histograms) -> Iterator[float]:
        counters = self.schema.counters
        values = column_of(item, counters[0].name) if counters else [1] * len(item)
        yield from (values.tolist() if isinstance(values, np.ndarray) else values)

    @property
    def rate_column(self) -> Column | None:
        """The counter of which ``rates`` are the sums a second."""
        return self.schema.counters[0] if self.schema.counters else None

    @property
    def paused(self) -> bool:
        """See :class:`~pytracer.view.base.View`."""
        return self._at not in (None, WHOLE_RUN)

    def pause(self) -> None:
        """See :class:`~pytracer.view.base.View`."""
        self.step(0)

    def resume(self) -> None:
        """See :class:`~pytracer.view.base.View`."""
        with self._lock:
            self._at = None
            self.revision += 1

    def step(self, count: int) -> None:
        """See :class:`~pytracer.view.base.View`: an interval."""
        with self._lock:
            if self._items:
                now = self.newest if self._at in (None, WHOLE_RUN) else self._at
                self._go_to(now + count)

    def _go_to(self, index: int | None) -> None:
        self._at = None if index is None else min(max(index, self._first), self.newest)
        self.revision += 1

    @property
    def newest(self) -> int:
        """The number of the newest interval; the first of the run has 0."""
        return self._first + len(self._items) - 1

    @property
    def numbers(self) -> range:
        """The numbers of the intervals that can be shown."""
        return range(self._first, self.newest + 1)

    @property
    def place(self) -> int:
        """The number of the interval that is shown, or WHOLE_RUN."""
        return self.newest if self._at is None else self._at

    @contextmanager
    def at(self, index: int | None) -> Iterator[None]:
        """Show another interval for the length of the context. None is the newest, WHOLE_RUN the whole
        run."""
        with self._lock:
            previous, revision = self._at, self.revision
            try:
                if index == WHOLE_RUN and self.has_whole_run:
                    self._at = WHOLE_RUN
                elif self._items:
                    self._go_to(index)
                yield
            finally:
                self._at, self.revision = previous, revision

    # ---- the whole run

    @property
    def has_whole_run(self) -> bool:
        """True if intervals can be added up: those of tables and stacks."""
        return self._whole is not None

    @property
    def shows_whole_run(self) -> bool:
        """True while the whole run is shown."""
        return self._at == WHOLE_RUN

    def show_whole_run(self) -> None:
        """Show all intervals so far, added up; ``resume`` and ``step`` end it."""
        with self._lock:
            if self._whole is not None and self._items:
                self._at = WHOLE_RUN
                self.revision += 1

    def _add_up(self, end: int) -> None:
        """Add the intervals before this number to the whole run."""
        while self._whole is not None and self._added < end:
            item = self._items[self._added - self._first]
            if isinstance(item, Snapshot) and item.kind == "row":
                self._whole.add(item)
            self._added += 1

    def _item(self) -> Snapshot | Histograms | None:
        if not self._items:
            return None
        if self._at != WHOLE_RUN:
            return self._items[self.place - self._first]
        if self._items[-1].kind == "summary":  # the run has ended, and the kernel's own sums are here
            return self._items[-1]
        assert self._whole is not None
        self._add_up(self.newest + 1)
        return self._whole.item()

    def _ordered(self) -> Array:
        """Return the numbers of the rows that are shown, in their order."""
        item = self._item()
        if item is None:
            return np.zeros(0, dtype=np.intp)
        key = (item, self.sort, self.descending, self.filter)
        if self._order is not None and all(map(operator.is_, self._order[0], key)):
            return self._order[1]
        rows = np.nonzero(self.filter.mask(item))[0] if self.filter else np.arange(len(item))
        if self.sort:
            sort_ranks = ranks(column_of(item, self.sort))[rows]
            order = np.argsort(sort_ranks, kind="stable")
            rows = rows[order[::-1] if self.descending else order]
        self._order = key, rows
        return rows

    def __len__(self) -> int:
        with self._lock:
            return len(self._ordered())

    def title(self) -> str:
        """See :class:`~pytracer.view.base.View`."""
        with self._lock:
            item = self._item()
            if item is None:
                return "waiting for the first interval"
            span = f"{item.seconds:.1f} s"
            title = f"whole run, {span}" if item.kind == "summary" else f"{clock(item.time)}, {span}"
            if self.shows_whole_run and self._whole is not None and self._whole.dropped:
                title += f", without {self._whole.dropped} rows that there was no room for"
            if self._at is not None and not self.shows_whole_run:
                title += f", {self.place - self._first + 1} of {len(self._items)}"
            return title

    def rows(self, first: int, count: int) -> list[dict[str, Any]]:
        """See :class:`~pytracer.view.base.View`."""
        with self._lock:
            item = self._item()
            if item is None:
                return []
            part = take(item, self._ordered()[first : first + count])
            time = nanoseconds_of(item.time)
            values: Iterator[dict[str, Any]]
            if isinstance(part, Histograms):
                values = (
                    {**keys, part.counter: sum(counts), **measures, "buckets": counts}
                    for counts, keys, measures in zip(
                        part.counts.tolist(), part.key_rows(), part.measures(), strict=True
                    )
                )
            else:
                values = part.value_rows()
            return [{"time": time, **row} for row in values]

    def shown(self) -> Batch | Snapshot | Histograms | None:
        """See :class:`~pytracer.view.base.View`."""
        with self._lock:
            item = self._item()
            return None if item is None else take(item, self._ordered())

    # ---- how a row went

    def trend_column(self) -> Column | None:
        """Return the column whose trend is shown: the one that sorts, if it is a number, else the first."""
        for column in self.columns:
            if column.name == self.sort and not column.is_text and column not in self.schema.keys:
                return column
        return self.rate_column

    def trend(self, row: dict[str, Any], length: int = _TREND) -> list[float | None]:
        """Return a number of this row in the last intervals; None for intervals without the row."""
        column = self.trend_column()
        with self._lock:
            if column is None or not self._items:
                return []
            end = len(self._items) if self._at in (None, WHOLE_RUN) else self.place - self._first + 1
            begin = max(end - length, 0)
            key = tuple(row[key_column.name] for key_column in self._key_columns())
            trend: list[float | None] = []
            for number, item in enumerate(itertools.islice(self._items, begin, end), begin):
                if item.kind != "row":
                    continue
                row_index = self._rows_by_key(self._first + number, item).get(key)
                values = None if row_index is None else column_of(item, column.name)[row_index]
                trend.append(None if values is None or values is np.ma.masked else float(values))
            return trend

    def _key_columns(self) -> list[Column]:
        """Return the columns by which a row is found again: names that are not its latest ones."""
        return [column for column in self.schema.keys if not column.wide or column.unit is Unit.NONE]

    def _rows_by_key(self, number: int, item: Snapshot | Histograms) -> dict[Any, int]:
        places = self._places.get(number)
        if places is None:
            columns = [column_of(item, column.name) for column in self._key_columns()]
            lists = [values.tolist() if hasattr(values, "tolist") else values for values in columns]
            keys = zip(*lists, strict=True) if lists else [()] * len(item)
            places = self._places[number] = {key: row for row, key in enumerate(keys)}
            for old in [values for values in self._places if values < number - 4 * _TREND]:
                del self._places[old]
        return places
