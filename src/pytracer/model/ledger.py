"""Keep rows of an interval and of the whole run, given drained rows and readings of growing ones."""

from __future__ import annotations

from pytracer.model.reduce import Rows, concatenate, merge, subtract
from pytracer.model.schema import Schema


class Total:
    """A sum of rows; rows with the same key are merged.

    A reading is not merged at once into what may be a million rows: it is kept beside them until there are
    as many rows beside as in the sum. So all readings together take O(n log n).
    """

    def __init__(self, schema: Schema) -> None:
        """Start without rows."""
        self._schema = schema
        self._parts: list[Rows] = []
        self._pending_rows = 0  # rows of all parts but the first

    def add(self, rows: Rows) -> None:
        """Add a reading: rows with different keys."""
        if not self._parts:
            self._parts = [rows]
        elif len(rows):
            self._parts.append(rows)
            self._pending_rows += len(rows)
            if self._pending_rows > len(self._parts[0]):
                self._merge()

    @property
    def rows(self) -> Rows | None:
        """All rows that were added, merged by key; None if none were."""
        if len(self._parts) > 1:
            self._merge()
        return self._parts[0] if self._parts else None

    def _merge(self) -> None:
        self._parts = [merge(self._parts, self._schema)]
        self._pending_rows = 0


class Ledger:
    """The shown rows come from two kinds: drained rows, which are no longer in the kernel, and standing
    rows, which stay there and only grow, so that an interval is the difference of two readings. No key is
    of both kinds."""

    def __init__(self, schema: Schema) -> None:
        """Start without rows."""
        self._schema = schema
        self._interval = Total(schema)
        self._before = Total(schema)  # all intervals before this one
        self._previous: Rows | None = None

    def add_drained(self, rows: Rows) -> None:
        """Add rows that were drained from the kernel."""
        self._interval.add(rows)

    def interval(self, table_rows: Rows | None) -> Rows:
        """Return the rows since the last call; ``table_rows`` is a reading of the rows that stay in the
        kernel."""
        rows = self._interval.rows
        if rows is not None:
            self._before.add(rows)
            self._interval = Total(self._schema)
        grown = table_rows
        if table_rows is not None and self._previous is not None:
            grown = subtract(table_rows, self._previous, self._schema)
        self._previous = table_rows
        return concatenate(rows, grown)

    def total(self, table_rows: Rows | None) -> Rows:
        """Return the rows of the whole run."""
        parts = [rows for rows in (self._before.rows, self._interval.rows) if rows is not None]
        return concatenate(merge(parts, self._schema) if parts else None, table_rows)
