"""What was counted in an interval and in all, by what was taken out of the kernel and what stays there."""

from __future__ import annotations

from pytracer.model.reduce import Rows, joined, merged, since
from pytracer.model.schema import Schema


class Total:
    """Rows added up, those of one key as one.

    A reading is not merged at once into what may be a million rows: it is kept beside them until there is as
    much beside them as there is of them. So it takes O(n log n) for all readings together.
    """

    def __init__(self, schema: Schema) -> None:
        """Nothing yet."""
        self._schema = schema
        self._parts: list[Rows] = []
        self._beside = 0  # rows of all parts but the first

    def add(self, rows: Rows) -> None:
        """A reading: rows of different keys."""
        if not self._parts:
            self._parts = [rows]
        elif len(rows):
            self._parts.append(rows)
            self._beside += len(rows)
            if self._beside > len(self._parts[0]):
                self._merge()

    @property
    def rows(self) -> Rows | None:
        """All of them; None where nothing was ever added."""
        if len(self._parts) > 1:
            self._merge()
        return self._parts[0] if self._parts else None

    def _merge(self) -> None:
        self._parts = [merged(self._parts, self._schema)]
        self._beside = 0


class Ledger:
    """Two kinds of rows make up what is shown: those that were ``taken`` out of the kernel, and those that
    ``stand`` there and only grow, of which an interval is the difference of two readings. No key is of both
    kinds."""

    def __init__(self, schema: Schema) -> None:
        """Nothing was counted yet."""
        self._schema = schema
        self._interval = Total(schema)
        self._before = Total(schema)  # all intervals before this one
        self._stood: Rows | None = None

    def add_drained(self, rows: Rows) -> None:
        """A reading of rows that are in the kernel no more."""
        self._interval.add(rows)

    def interval(self, standing: Rows | None) -> Rows:
        """What was counted since this was last asked; ``standing`` is a reading of what stays."""
        taken = self._interval.rows
        if taken is not None:
            self._before.add(taken)
            self._interval = Total(self._schema)
        grown = standing
        if standing is not None and self._stood is not None:
            grown = since(standing, self._stood, self._schema)
        self._stood = standing
        return joined(taken, grown)

    def total(self, standing: Rows | None) -> Rows:
        """What was counted in all."""
        parts = [rows for rows in (self._before.rows, self._interval.rows) if rows is not None]
        return joined(merged(parts, self._schema) if parts else None, standing)
