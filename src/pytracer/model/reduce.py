"""Reduce raw map contents to rows: sum CPUs, add readings, subtract earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytracer.arrays import Array, np
from pytracer.model.schema import Schema
from pytracer.record import record
from pytracer.spec import Table


@record
class Rows:
    """Distinct keys, shape (n,), and their values, shape (n,); structured arrays in the C's own layout."""

    keys: Array
    values: Array

    def __len__(self) -> int:
        return int(self.keys.shape[0])


def sum_cpus(keys: Array, values: Array, schema: Schema) -> Rows:
    """Sum per-CPU values of shape (n, cpus), or pass values of shape (n,) on.

    ``last`` columns take the copy of the CPU whose member ``seen`` is greatest.
    """
    if values.ndim == 1:
        return Rows(keys, values)
    total = np.zeros(values.shape[0], dtype=values.dtype)
    for column in schema.counters:
        total[column.source] = values[column.source].sum(axis=1)
    for column in schema.maxima:
        total[column.source] = values[column.source].max(axis=1)
    last_columns = [column.source for column in schema.values if column.last]
    if last_columns:
        newest = values["seen"].argmax(axis=1)
        row = np.arange(values.shape[0])
        for name in (*last_columns, "seen"):
            total[name] = values[name][row, newest]
    return Rows(keys, total)


def rows_of_dense(all_rows: Rows, keys: np.dtype[Any], schema: Schema) -> Rows:
    """Return the non-zero rows of an array map; ``keys`` is their dtype. See ``Table.dense``."""
    is_used = np.zeros(len(all_rows), dtype=bool)
    for column in schema.counters:
        is_used |= all_rows.values[column.source] != 0
    codes = schema.output.dense_codes if isinstance(schema.output, Table) else ()
    first, code = np.divmod(all_rows.keys[is_used], max(len(codes), 1))
    named = np.zeros(int(is_used.sum()), dtype=keys)
    named[schema.keys[0].source] = first
    if codes:
        named[schema.keys[1].source] = np.array(codes)[code]
    return Rows(named, all_rows.values[is_used])


def concatenate(first_rows: Rows | None, second_rows: Rows | None) -> Rows:
    """Concatenate rows without a common key; one of the two must be given."""
    if first_rows is None or second_rows is None:
        single = second_rows if first_rows is None else first_rows
        assert single is not None
        return single
    keys = np.concatenate((_bytes(first_rows.keys), _bytes(second_rows.keys)))
    return Rows(keys.view(first_rows.keys.dtype), np.concatenate((first_rows.values, second_rows.values)))


def subtract(now: Rows, earlier: Rows, schema: Schema) -> Rows:
    """Subtract the rows ``earlier`` from the rows ``now``; rows that did not grow are left out.

    A key that is missing from ``now`` adds nothing; a new key counts from zero. A maximum stays the maximum
    so far.
    """
    counters = [column.source for column in schema.counters]
    grown = now.values.copy()
    if len(earlier) and len(now):
        ordered = _bytes(earlier.keys)
        order = np.argsort(ordered)
        keys = _bytes(now.keys)
        index = np.minimum(np.searchsorted(ordered, keys, sorter=order), len(earlier) - 1)
        match = order[index]
        is_known = ordered[match] == keys
        for name in counters:
            grown[name][is_known] -= earlier.values[name][match[is_known]]
    is_changed = np.zeros(len(now), dtype=bool)
    for name in counters:
        is_changed |= grown[name] != 0
    return Rows(now.keys[is_changed], grown[is_changed])


def merge(parts: Sequence[Rows], schema: Schema) -> Rows:
    """Merge all rows of all ``parts`` (at least one) by key: counters are added, ``max`` columns are the
    maximum, ``last`` columns are from the row with the greatest ``seen``."""
    # As bytes: NumPy would copy the members of a struct, and leave what is between them undefined.
    keys = np.concatenate([_bytes(part.keys) for part in parts])
    values = np.concatenate([part.values for part in parts])
    order = np.arange(len(keys))
    if any(column.last for column in schema.values):
        order = np.argsort(values["seen"], kind="stable")
    order = order[np.argsort(keys[order], kind="stable")]
    keys, values = keys[order], values[order]
    differs = np.ones(len(keys), dtype=bool)
    differs[1:] = keys[1:] != keys[:-1]
    first = np.flatnonzero(differs)
    last = np.append(first[1:], len(keys)) - 1 if len(keys) else first
    total = values[last]
    for column in schema.counters:
        if len(first):
            total[column.source] = np.add.reduceat(values[column.source], first)
    for column in schema.maxima:
        if len(first):
            total[column.source] = np.maximum.reduceat(values[column.source], first)
    return Rows(keys[first].view(parts[0].keys.dtype), total)


def group_keys(keys: Array, without: str) -> tuple[Array, Array]:
    """Group keys that are equal but for the member ``without``: returns a key of each group, and the group of
    each key, shape (n,)."""
    size = keys.dtype.itemsize
    assert keys.dtype.fields is not None
    kind, offset = keys.dtype.fields[without][:2]
    raw = np.frombuffer(bytearray(_bytes(keys).tobytes()), dtype=np.uint8).reshape(-1, size)
    raw[:, offset : offset + kind.itemsize] = 0
    _, first, number = np.unique(raw.view(f"S{size}").reshape(-1), return_index=True, return_inverse=True)
    return keys[first], number.reshape(-1)


def _bytes(keys: Array) -> Array:
    """View keys as fixed-width byte strings, which are equal if all bytes are equal, and sortable."""
    return np.ascontiguousarray(keys).view(f"S{keys.dtype.itemsize}").reshape(-1)
