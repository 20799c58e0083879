"""The whole run so far: the intervals of a table, or of stacks, added up by key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytracer.arrays import np
from pytracer.model import Schema, Snapshot, StackSnapshot
from pytracer.spec import Column, Unit

ROWS = 100_000
"""Keys that are kept, at most."""


class WholeRun:
    """Adds up intervals. ``dropped`` counts rows whose keys exceed the limit."""

    def __init__(self, schema: Schema) -> None:
        """Start without rows."""
        self._schema = schema
        self._columns = [column for column in schema.values if not column.ratio]
        self._add = [_choose_addition(column) for column in self._columns]
        self._rows: dict[tuple[Any, ...], list[Any]] = {}
        self._seconds = self._time = 0.0
        self._item: Snapshot | None = None
        self.dropped = 0

    @staticmethod
    def can_add(schema: Schema) -> bool:
        """Return whether the rows of this schema can be added up: not histograms, nor values that are made of
        the C's own members."""
        sources = {column.source for column in schema.values}
        return (
            bool(schema.values)
            and not schema.is_histogram
            and not any(
                column.computed or (column.ratio and not {*column.ratio} <= sources)
                for column in schema.values
            )
        )

    def add(self, item: Snapshot) -> None:
        """Add an interval."""
        self._seconds += item.seconds
        self._time = item.time
        self._item = None
        keys = zip(*(_list(item.columns[column.name]) for column in self._schema.keys), strict=True)
        values = zip(*(_list(item.columns[column.name]) for column in self._columns), strict=True)
        for key, added in zip(keys if self._schema.keys else [()] * len(item), values, strict=True):
            row = self._rows.get(key)
            if row is not None:
                row[:] = [add(*pair) for add, *pair in zip(self._add, row, added, strict=True)]
            elif len(self._rows) < ROWS:
                self._rows[key] = list(added)
            else:
                self.dropped += 1

    def item(self) -> Snapshot:
        """Return the sums as an item, the greatest first counter first."""
        if self._item is None:
            counters = self._schema.counters
            first = self._columns.index(counters[0]) if counters else 0
            rows = sorted(self._rows.items(), key=lambda row: row[1][first] or 0, reverse=True)
            columns = {
                column.name: [key[index] for key, _ in rows] for index, column in enumerate(self._schema.keys)
            }
            columns |= {
                column.name: [row[index] for _, row in rows] for index, column in enumerate(self._columns)
            }
            item_columns = {column.name: self._values(column, columns) for column in self._schema.columns}
            kind = StackSnapshot if self._schema.is_stacks else Snapshot
            self._item = kind("summary", self._time, self._seconds, item_columns)
        return self._item

    def _values(self, column: Column, columns: dict[str, list[Any]]) -> Any:
        """Return a column as items have it: numbers as an array, names and what may be null as a list."""
        if column.ratio:
            names = {schema_column.source: schema_column.name for schema_column in self._columns}
            numerator, denominator = (columns[names[part]] for part in column.ratio)
            scale = 100 if column.unit is Unit.PERCENT else 1
            return [scale * a // b if b else None for a, b in zip(numerator, denominator, strict=True)]
        values = columns[column.name]
        return (
            np.array(values)
            if values and all(isinstance(schema_column, int) for schema_column in values)
            else values
        )


def _list(values: Any) -> list[Any]:
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _choose_addition(column: Column) -> Callable[[Any, Any], Any]:
    if column.last:
        return lambda left, right: left if right is None else right
    if column.max:
        return lambda left, right: max((value for value in (left, right) if value is not None), default=None)
    return lambda left, right: (left or 0) + (right or 0)
