"""From rows in the C's own layout to what a sink shows: ranked, cut, named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytracer.arrays import Array, np
from pytracer.enrich.decode import Computed, Decoder, convert_to_strings, decode, mask_null
from pytracer.model import Coded, Histograms, Schema, Snapshot
from pytracer.model.buckets import BUCKETS, by_power, percentiles
from pytracer.model.items import Kind
from pytracer.model.reduce import Rows, group_keys
from pytracer.record import record
from pytracer.spec import Column, Histogram, Unit

_ANY = (1 << 64) - 1


@record
class Ranking:
    """The column that ranks rows ("" for histograms: their total), and the number of rows to keep."""

    sort: str
    top: int | None = None


@record
class ReadTime:
    """The kind and time of rows: see :class:`~pytracer.model.Snapshot`."""

    kind: Kind
    time: float
    seconds: float


def shape_rows(
    rows: Rows,
    schema: Schema,
    ranking: Ranking,
    decoders: Mapping[str, Decoder],
    moment: ReadTime,
    computed: Mapping[str, Computed] | None = None,
) -> Snapshot | Histograms:
    """Build the item for the schema's output shape; ``computed`` columns are made from the rows' keys."""
    computed = computed or {}
    if schema.is_histogram:
        return _histograms(rows, schema, ranking, decoders, moment, computed)
    rows = _rank(rows, schema, ranking, decoders, computed)
    columns = {column.name: _values(rows, schema, column, decoders, computed) for column in schema.columns}
    return Snapshot(moment.kind, moment.time, moment.seconds, columns)


def _rank(
    rows: Rows,
    schema: Schema,
    ranking: Ranking,
    decoders: Mapping[str, Decoder],
    computed: Mapping[str, Computed],
) -> Rows:
    """Sort rows: counters in descending order, names and ids in ascending order."""
    column = next(column for column in schema.columns if column.name == ranking.sort)
    if column.ratio:
        above, below = (rows.values[part].astype(np.float64) for part in column.ratio)
        values: Array = above / np.maximum(below, 1)
    else:
        values = np.asarray(_values(rows, schema, column, decoders, computed))
    order = np.argsort(values, kind="stable")
    if column in schema.counters or column.max or column.ratio:
        order = order[::-1]
    order = order[: ranking.top]
    return Rows(rows.keys[order], rows.values[order])


def _values(
    rows: Rows,
    schema: Schema,
    column: Column,
    decoders: Mapping[str, Decoder],
    computed: Mapping[str, Computed] | None = None,
) -> Any:
    """Return one column as it is shown: an array of numbers, or a list where there are names or nulls."""
    if column.computed and computed:
        computed_values = computed[column.name](rows.keys)
        return computed_values.tolist() if isinstance(computed_values, Coded) else computed_values
    if column.ratio:
        above, below = (rows.values[name].tolist() for name in column.ratio)
        scale = 100 if column.unit is Unit.PERCENT else 1
        return [scale * a // b if b else None for a, b in zip(above, below, strict=True)]
    values = (rows.keys if column in schema.keys else rows.values)[column.source]
    if values.ndim > 1:
        values = convert_to_strings(values)
    if column.is_text:
        return decode(decoders[column.decode or "text"], values, column.null).tolist()
    return mask_null(values, column.null)


def _histograms(
    rows: Rows,
    schema: Schema,
    ranking: Ranking,
    decoders: Mapping[str, Decoder],
    moment: ReadTime,
    computed: Mapping[str, Computed],
) -> Histograms:
    """Group the map's (key, slot) entries into one histogram a key."""
    counter = schema.counters[0]
    names = [column.source for column in schema.keys]
    if "" in names:
        groups, number = group_keys(rows.keys, "slot")
    elif names:
        groups, number = np.unique(rows.keys[names], return_inverse=True)
    else:  # without keys there is one histogram, once anything was counted
        groups, number = rows.keys[:1], np.zeros(len(rows.keys), dtype=np.intp)
    counts = np.zeros((len(groups), BUCKETS), dtype=np.uint64)
    np.add.at(counts, (number, rows.keys["slot"]), rows.values[counter.source])
    values = np.zeros(len(groups), dtype=rows.values.dtype)
    if any(column.last for column in schema.values):
        by_age = np.argsort(rows.values["seen"])
        values[number[by_age]] = rows.values[by_age]  # of one group, the last assigned stays
    for columns, gather in ((schema.counters, np.add), (schema.maxima, np.maximum)):
        for column in columns:
            gathered = np.zeros(len(groups), dtype=np.uint64)
            gather.at(gathered, number, rows.values[column.source])
            values[column.source] = gathered
    grouped = Rows(groups, values)
    named = [*schema.keys, *(column for column in schema.values if column.last)]
    keys = {column.name: _values(grouped, schema, column, decoders, computed) for column in named}
    beside = [column for column in schema.values if not column.last and column is not counter]
    measures = {column.name: _values(grouped, schema, column, decoders) for column in beside}
    assert isinstance(schema.output, Histogram)
    greatest = [values[column.source].tolist() for column in schema.maxima]
    most = greatest[0] if greatest else [_ANY] * len(counts)
    for share, column in schema.output.percentiles.items():
        measures[column.name] = percentiles(counts, share, most)
    if ranking.sort in keys:
        order = np.argsort(np.asarray(keys[ranking.sort]), kind="stable")
    else:
        measure = measures.get(ranking.sort, counts.sum(axis=1))
        order = np.argsort(-np.asarray(measure, np.float64), kind="stable")
    order = order[: ranking.top]
    counts = counts[order]
    for columns_shown in (keys, measures):
        for name, shown in columns_shown.items():
            columns_shown[name] = (
                shown[order] if isinstance(shown, np.ndarray) else [shown[at] for at in order]
            )
    return Histograms(
        moment.kind, moment.time, moment.seconds, keys, counter.name, by_power(counts), measures, counts
    )
