"""From raw map contents to rows: sum over CPUs, subtract what was there before, group, sort, cut.

Counters in the kernel only ever grow; an interval is the difference of two readings. Nothing is cleared
while it is counted, so nothing can be counted twice or lost between reading and clearing.
"""

from __future__ import annotations

from dataclasses import dataclass

from pytracer.arrays import Array, np
from pytracer.model.schema import Schema


@dataclass(frozen=True)
class Rows:
    """Distinct keys, shape (n,), and their values, shape (n,); structured arrays in the C's own layout."""

    keys: Array
    values: Array

    def __len__(self) -> int:
        return int(self.keys.shape[0])


def sum_cpus(keys: Array, values: Array, schema: Schema) -> Rows:
    """Sum per-CPU values of shape (n, cpus), or pass values of shape (n,) on.

    ``latest`` columns take the copy of the CPU whose member ``seen`` is greatest.
    """
    if values.ndim == 1:
        return Rows(keys, values)
    total = np.zeros(values.shape[0], dtype=values.dtype)
    for column in schema.counters:
        total[column.source] = values[column.source].sum(axis=1)
    latest = [column.source for column in schema.values if column.latest]
    if latest:
        newest = values["seen"].argmax(axis=1)
        row = np.arange(values.shape[0])
        for name in (*latest, "seen"):
            total[name] = values[name][row, newest]
    return Rows(keys, total)


def with_dense(rows: Rows, dense: Rows, schema: Schema) -> Rows:
    """``rows`` and those of an array, whose keys are its indexes; only where something was counted."""
    seen = np.zeros(len(dense), dtype=bool)
    for column in schema.counters:
        seen |= dense.values[column.source] != 0
    keys = np.zeros(int(seen.sum()), dtype=rows.keys.dtype)
    keys[schema.keys[0].source] = dense.keys[seen]
    return Rows(np.concatenate((rows.keys, keys)), np.concatenate((rows.values, dense.values[seen])))


def since(now: Rows, before: Rows, schema: Schema) -> Rows:
    """What ``now`` has more than ``before``; rows that did not grow are left out.

    A key that is gone from ``now`` adds nothing; one that was not there before counts from zero.
    """
    counters = [column.source for column in schema.counters]
    grown = now.values.copy()
    if len(before) and len(now):
        ordered = _bytes(before.keys)
        order = np.argsort(ordered)
        wanted = _bytes(now.keys)
        place = np.minimum(np.searchsorted(ordered, wanted, sorter=order), len(before) - 1)
        match = order[place]
        known = ordered[match] == wanted
        for name in counters:
            grown[name][known] -= before.values[name][match[known]]
    moved = np.zeros(len(now), dtype=bool)
    for name in counters:
        moved |= grown[name] != 0
    return Rows(now.keys[moved], grown[moved])


def _bytes(keys: Array) -> Array:
    """Keys as fixed-width byte strings: equal where all bytes are equal, and sortable."""
    return np.ascontiguousarray(keys).view(f"S{keys.dtype.itemsize}").reshape(-1)
