"""The view: the common part of all kinds of results."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from pytracer.model import Batch, Histograms, Item, Loss, Schema, Snapshot, Statement
from pytracer.record import replace
from pytracer.sinks.formatting import cell
from pytracer.spec import Column, Unit
from pytracer.view.row_filters import RowFilter

RATES = 120  # points of time that the trend of a run keeps


class View:
    """Rows of a run: in an order, of a filter, at a time.

    ``add`` may be called from another thread. ``lost`` has the losses so far by reason, ``notes`` what else
    was said about the run.
    """

    def __init__(self, schema: Schema) -> None:
        """Create an empty view."""
        self.schema = schema
        self.columns: tuple[Column, ...] = schema.columns
        self.lost: dict[str, Loss] = {}
        self.notes: list[str] = []
        self.rates: deque[float] = deque(maxlen=RATES)
        self.seen = 0  # events, or rows of all intervals
        self.sort = ""
        self.descending = True
        self.filter = RowFilter("", ())
        self.revision = 0  # another one: there is something else to show
        self._lock = threading.RLock()

    # ---- what comes in

    def add(self, item: Item) -> None:
        """Add an item of the run."""
        with self._lock:
            if isinstance(item, Loss):
                previous = self.lost.get(item.reason)
                self.lost[item.reason] = replace(item, lost=item.lost + previous.lost) if previous else item
            elif isinstance(item, Statement):
                self.notes.append(item.describe())
            else:
                self.seen += len(item)
                self._keep(item)
            self.revision += 1

    def _keep(self, item: Batch | Snapshot | Histograms) -> None:
        raise NotImplementedError

    def measure(self, seconds: float) -> None:
        """Add a point to ``rates``; ``seconds`` have passed since the last one."""

    # ---- what is looked at

    def unchanged(self) -> AbstractContextManager[object]:
        """Return a context in which the view does not change, whatever arrives."""
        return self._lock

    def sort_by(self, name: str, *, descending: bool | None = None) -> None:
        """Sort by a column: by default the greatest number, or the first name, first. "" for no order but
        the run's. Raises KeyError if there is no such column."""
        with self._lock:
            column = self.column(name) if name else None
            self.sort = name
            text = column is not None and (column.is_text or column.unit is Unit.NONE)
            self.descending = not text if descending is None else descending
            self._changed()

    def set_filter(self, text: str) -> None:
        """Show the rows of a :class:`RowFilter`. Raises UsageError, and changes nothing, if it is wrong."""
        new_filter = RowFilter(text, self.columns)
        with self._lock:
            self.filter = new_filter
            self._changed()

    @property
    def paused(self) -> bool:
        """True while the view is frozen. Items that arrive meanwhile are stored, up to a limit."""
        raise NotImplementedError

    def pause(self) -> None:
        """Freeze the view."""
        raise NotImplementedError

    def resume(self) -> None:
        """Show new results again."""
        raise NotImplementedError

    def step(self, count: int) -> None:
        """Pause, and show an earlier (below 0) or later result."""
        raise NotImplementedError

    def _changed(self) -> None:
        """Update the view after a change of the order or the filter."""
        self.revision += 1

    # ---- what is shown

    def __len__(self) -> int:
        """Return the number of rows that pass the filter."""
        raise NotImplementedError

    def title(self) -> str:
        """Return the name of the rows and the time that they cover."""
        raise NotImplementedError

    def rows(self, first: int, count: int) -> list[dict[str, Any]]:
        """Return some rows as plain values: ``time`` (ns since the epoch) and the columns."""
        raise NotImplementedError

    def cells(self, first: int, count: int, columns: Sequence[Column]) -> list[list[str]]:
        """Return the text of some rows, which no terminal obeys."""
        return [[cell(row[c.name], c) for c in columns] for row in self.rows(first, count)]

    def shown(self) -> Batch | Snapshot | Histograms | None:
        """Return the rows that pass the filter, in their order, as one item; None before the first item."""
        raise NotImplementedError

    def column(self, name: str) -> Column:
        """Return the column of a name. Raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)
