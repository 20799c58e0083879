"""Columns of an item, and an item of some of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pytracer.arrays import Array, np
from pytracer.model import Batch, Coded, Histograms, Item, Loss, Snapshot, Statement
from pytracer.record import replace

Rows = Array | slice
"""The numbers of rows, in the order in which they are wanted; or a part."""
_Item = TypeVar("_Item", bound=Batch | Snapshot | Histograms)


def take(item: _Item, rows: Rows) -> _Item:
    """Return an item of these rows of ``item``, in their order."""
    if isinstance(item, Batch):
        return replace(item, records=item.records[rows], times=item.times[rows])
    if isinstance(item, Histograms):
        return replace(
            item,
            keys={name: take_values(values, rows) for name, values in item.keys.items()},
            values={name: take_values(values, rows) for name, values in item.values.items()},
            counts=item.counts[rows],
            fine=None if item.fine is None else item.fine[rows],
        )
    return replace(item, columns={name: take_values(values, rows) for name, values in item.columns.items()})


def take_values(values: Any, rows: Rows) -> Any:
    """Return these elements of a column."""
    if isinstance(values, Coded):
        return Coded(values.names, values.codes[rows])
    if isinstance(values, np.ndarray):
        return values[rows]
    if isinstance(rows, slice):
        return values[rows]
    return [values[row] for row in rows.tolist()]


def column_of(item: Batch | Snapshot | Histograms, name: str) -> Any:
    """Return a column: an array, Coded names, or a list where there are nulls or stacks. Raises KeyError."""
    if isinstance(item, Batch):
        return item.column(name)
    if isinstance(item, Snapshot):
        return item.columns[name]
    if name == item.counter:
        return item.counts.sum(axis=1)
    return item.keys[name] if name in item.keys else item.values[name]


def has_rows(item: Item) -> bool:
    """Return whether an item has rows; items about the run, such as a loss, have none."""
    return not isinstance(item, (Loss, Statement))


def ranks(values: Any) -> Array:
    """Return numbers by which the values of a column can be sorted, nulls before all others, shape (n,)."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iufb":
        if not np.ma.isMaskedArray(values):
            return values
        return np.where(np.ma.getmaskarray(values), -1.0, np.ma.getdata(values).astype(np.float64))
    if isinstance(values, Coded):
        return np.append(_rank_values(values.names), -1)[values.codes]
    return _rank_values(values.tolist() if isinstance(values, np.ndarray) else values)


def _rank_values(values: Sequence[Any]) -> Array:
    """Return for each value its place among the distinct ones; -1 for None."""
    present = {value for value in values if value is not None}
    numbers = {value: number for number, value in enumerate(sorted(present, key=_make_comparable))}
    return np.array([numbers.get(value, -1) for value in values], dtype=np.int64)


def _make_comparable(value: Any) -> tuple[int, Any]:
    return (1, str(value)) if isinstance(value, (str, tuple)) else (0, value)
