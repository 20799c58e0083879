"""Maps of scripts as tables and histograms, for a live screen."""

from __future__ import annotations

import time
from typing import Any

from pytracer.arrays import np
from pytracer.lang.script.program import ScriptMap
from pytracer.lang.script.types import AggregateType, StackType
from pytracer.model import Schema
from pytracer.model.buckets import POWERS
from pytracer.model.script import MapHistograms, MapTable, ScriptOutput
from pytracer.model.tabular import Values
from pytracer.record import record
from pytracer.spec import Column, Histogram, Stacks, Table, Unit

_KEY = Column("key", "the key", decode="text")
_STACK = Column("stack", "the key: functions, innermost first", decode="stack")
_COUNT = Column("count", "how often", unit=Unit.COUNT)


@record
class _MapHistogram(Histogram):
    """Histograms by power of two, of which nothing else is known: no percentiles."""

    @property
    def percentiles(self) -> dict[float, Column]:
        """See :class:`~pytracer.spec.Histogram`."""
        return {}


def tabulate(script_map: ScriptMap, output: ScriptOutput, seconds: float) -> MapTable | MapHistograms:
    """Return a map, of which ``output`` is what ``print`` shows, ``seconds`` after the script began."""
    data = output.data[script_map.name]
    entries = dict(data) if script_map.keys else {"": data}
    kind = script_map.value.kind if isinstance(script_map.value, AggregateType) else ""
    if kind == "hist":
        return _make_histograms(script_map, entries, seconds)
    if output.kind in ("hist", "tseries"):
        rows = [(key, _format_span(bucket), bucket) for key, buckets in entries.items() for bucket in buckets]
        columns = {"key": [key for key, *_ in rows], "bucket": [span for _, span, _ in rows]}
        counts = [bucket.get("count", bucket.get("value")) for *_, bucket in rows]
        return _make_table(script_map, columns, {"count": counts}, seconds)
    columns = {"key": list(entries)}
    if any(isinstance(value, dict) for value in entries.values()) and kind in ("stats", "avg"):
        names = list(next(iter(entries.values())))
        values = {name: [value[name] for value in entries.values()] for name in names}
        return _make_table(script_map, columns, values, seconds)
    return _make_table(script_map, columns, {"value": list(entries.values())}, seconds)


def _format_span(bucket: dict[str, Any]) -> str:
    low, high = bucket.get("min", ""), bucket.get("max", "")
    return f"{low}..{high}" if "min" in bucket or "max" in bucket else str(bucket.get("interval_start", ""))


def _split_keys(script_map: ScriptMap, texts: list[str]) -> tuple[tuple[Column, ...], dict[str, Any]]:
    """Return the columns of keys, and their values: none for a map with one value."""
    if not script_map.keys:
        return (), {}
    if len(script_map.keys) == 1 and isinstance(script_map.keys[0], StackType):
        stacks = [tuple(line.strip() for line in text.splitlines() if line.strip()) for text in texts]
        return (_STACK,), {"stack": stacks}
    return (_KEY,), {"key": [" ".join(text.split()) for text in texts]}


def _make_table(
    script_map: ScriptMap, named: dict[str, list[str]], values: dict[str, list[Any]], seconds: float
) -> MapTable:
    """Return a table, the greatest first."""
    keys, columns = _split_keys(script_map, named["key"])
    if "bucket" in named:
        keys += (Column("bucket", "values from, to", decode="text"),)
        columns["bucket"] = named["bucket"]
    table_columns = list[Column]()
    for name, column in values.items():
        is_number = all(type(value) is int for value in column)
        text = [value if isinstance(value, str) else str(value) for value in column]
        description = "how many" if name == "count" else f"its {name}"
        # computed: what is in a map is a sum already.
        unit, decode = (Unit.COUNT, "") if is_number else (Unit.NONE, "text")
        table_columns.append(
            Column(name, description, unit=unit, decode=decode, computed=True, last=not is_number)
        )
        columns[name] = column if is_number else text
    first = columns[table_columns[0].name]
    order = sorted(range(len(first)), key=lambda row: first[row], reverse=True)
    rows = order if "bucket" not in named else range(len(order))
    stacks = keys[:1] == (_STACK,)
    schema = Schema(script_map.name, keys, tuple(table_columns), Stacks("", ()) if stacks else Table("", ()))
    selected: dict[str, Values] = {name: [column[row] for row in rows] for name, column in columns.items()}
    return MapTable("row", time.time(), seconds, selected, schema)


def _make_histograms(script_map: ScriptMap, entries: dict[str, Any], seconds: float) -> MapHistograms:
    keys, columns = _split_keys(script_map, list(entries))
    counts = np.zeros((len(entries), POWERS), dtype=np.uint64)
    for row, buckets in enumerate(entries.values()):
        for bucket in buckets:
            low = bucket.get("min", 0)
            counts[row, max(low.bit_length() - 1, 0)] += bucket["count"]
    schema = Schema(script_map.name, keys, (_COUNT,), _MapHistogram("", (_COUNT,), unit=Unit.COUNT))
    return MapHistograms("row", time.time(), seconds, columns, _COUNT.name, counts, schema=schema)
