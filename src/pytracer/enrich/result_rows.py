"""Convert rows in the C's own layout to an item for sinks: ranked, limited, decoded."""

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
    computed_columns: Mapping[str, Computed] | None = None,
) -> Snapshot | Histograms:
    """Build the item for the schema's output shape; ``computed_columns`` are made from the rows'
    keys."""
    computed_columns = computed_columns or {}
    if schema.is_histogram:
        return _make_histograms(rows, schema, ranking, decoders, moment, computed_columns)
    rows = _rank(rows, schema, ranking, decoders, computed_columns)
    columns = {
        column.name: _column_values(rows, schema, column, decoders, computed_columns)
        for column in schema.columns
    }
    return Snapshot(moment.kind, moment.time, moment.seconds, columns)


def _rank(
    rows: Rows,
    schema: Schema,
    ranking: Ranking,
    decoders: Mapping[str, Decoder],
    computed_columns: Mapping[str, Computed],
) -> Rows:
    """Sort rows: counters in descending order, names and ids in ascending order."""
    column = next(column for column in schema.columns if column.name == ranking.sort)
    if column.ratio:
        numerator, denominator = (rows.values[part].astype(np.float64) for part in column.ratio)
        values: Array = numerator / np.maximum(denominator, 1)
    else:
        values = np.asarray(_column_values(rows, schema, column, decoders, computed_columns))
    order = np.argsort(values, kind="stable")
    if column in schema.counters or column.max or column.ratio:
        order = order[::-1]
    order = order[: ranking.top]
    return Rows(rows.keys[order], rows.values[order])


def _column_values(
    rows: Rows,
    schema: Schema,
    column: Column,
    decoders: Mapping[str, Decoder],
    computed_columns: Mapping[str, Computed] | None = None,
) -> Any:
    """Return one column as it is shown: an array of numbers, or a list where there are names or nulls."""
    if column.computed and computed_columns:
        computed_values = computed_columns[column.name](rows.keys)
        return computed_values.tolist() if isinstance(computed_values, Coded) else computed_values
    if column.ratio:
        numerator, denominator = (rows.values[name].tolist() for name in column.ratio)
        scale = 100 if column.unit is Unit.PERCENT else 1
        return [scale * a // b if b else None for a, b in zip(numerator, denominator, strict=True)]
    values = (rows.keys if column in schema.keys else rows.values)[column.source]
    if values.ndim > 1:
        values = convert_to_strings(values)
    if column.is_text:
        return decode(decoders[column.decode or "text"], values, column.null).tolist()
    return mask_null(values, column.null)


def _make_histograms(
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
    keys = {column.name: _column_values(grouped, schema, column, decoders, computed) for column in named}
    further_columns = [column for column in schema.values if not column.last and column is not counter]
    measures = {column.name: _column_values(grouped, schema, column, decoders) for column in further_columns}
    assert isinstance(schema.output, Histogram)
    maxima = [values[column.source].tolist() for column in schema.maxima]
    maximum = maxima[0] if maxima else [_ANY] * len(counts)
    for share, column in schema.output.percentiles.items():
        measures[column.name] = percentiles(counts, share, maximum)
    if ranking.sort in keys:
        order = np.argsort(np.asarray(keys[ranking.sort]), kind="stable")
    else:
        measure = measures.get(ranking.sort, counts.sum(axis=1))
        order = np.argsort(-np.asarray(measure, np.float64), kind="stable")
    order = order[: ranking.top]
    counts = counts[order]
    for columns_shown in (keys, measures):
        for name, column_values in columns_shown.items():
            columns_shown[name] = (
                column_values[order]
                if isinstance(column_values, np.ndarray)
                else [column_values[row_index] for row_index in order]
            )
    return Histograms(
        moment.kind, moment.time, moment.seconds, keys, counter.name, by_power(counts), measures, counts
    )
