"""JSON: one object a line, flushed line by line; field names are the columns' names.

:mod:`pytracer.sinks.json_schema` describes the objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from pytracer.arrays import Array
from pytracer.model import AuditResult, Batch, Coded, Histograms, Item, Loss, Schema, Snapshot
from pytracer.model.items import buckets
from pytracer.model.tabular import nanoseconds_of
from pytracer.sinks.formatting import timestamp


class JsonSink:
    """``{"kind": "row"|"summary"|"event"|"loss"|"audit", "time_ns": ..., ...}``, in ASCII: no terminal is
    misled by it. What covers a span of time has its length, ``interval_ns``."""

    def __init__(self, stream: TextIO, *, timestamps: bool) -> None:
        self._stream = stream
        self._timestamps = timestamps
        self._label = ""

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._label = histogram_field(schema)

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if isinstance(item, Batch):
            self._stream.writelines(self._events(item))
            self._stream.flush()
            return
        span = interval_of(item)
        for time, record in records(item, self._label):
            kind = {"kind": record.pop("kind")}
            if self._timestamps:
                kind["time"] = timestamp(time // 1_000_000)
            self._stream.write(json.dumps(kind | {"time_ns": time} | span | record) + "\n")
        self._stream.flush()

    def _events(self, item: Batch) -> Iterator[str]:
        """Format the lines of a batch by column."""
        times = item.times.tolist()
        fields = [_encode_column(name, item.column(name)) for name in item.names]
        fields.insert(0, [f'"time_ns": {time}' for time in times])
        if self._timestamps:
            fields.insert(0, [f'"time": "{timestamp(time // 1_000_000)}"' for time in times])
        for line in zip(*fields, strict=True):
            yield f'{{"kind": "{item.kind}", {", ".join(line)}}}\n'

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._stream.flush()


def histogram_field(schema: Schema) -> str:
    """Return the name of the field for a histogram's buckets: ``latency_ns``."""
    label: str = getattr(schema.output, "label", "")
    unit = getattr(schema.output, "unit", None)
    return f"{label}_{unit.value}" if unit is not None and unit.value else label


def interval_of(item: Item) -> dict[str, int]:
    """Return the field for the length of time that an item covers; none for what happened at one moment."""
    return {"interval_ns": round(item.seconds * 1e9)} if isinstance(item, (Snapshot, Histograms)) else {}


def records(item: Item, label: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Convert an item to (nanoseconds since the epoch, flat record), in plain Python types."""
    if isinstance(item, Batch):
        for nanoseconds, row in zip(item.times.tolist(), item.value_rows(), strict=True):
            yield nanoseconds, {"kind": item.kind} | row
        return
    time = nanoseconds_of(item.time)
    if isinstance(item, Loss):
        yield time, {"kind": "loss", "reason": item.reason, "lost": item.lost, "meaning": item.meaning}
    elif isinstance(item, AuditResult):
        yield time, {"kind": "audit"} | item.record()
    elif isinstance(item, Histograms):
        for counts, keys, values in zip(item.counts.tolist(), item.key_rows(), item.measures(), strict=True):
            yield (
                time,
                {"kind": item.kind} | keys | {item.counter: sum(counts)} | values | {label: buckets(counts)},
            )
    else:
        for row in item.value_rows():
            yield time, {"kind": item.kind} | row


def _encode_column(name: str, values: Array | Coded) -> list[str]:
    """Return a column of a batch as fields of objects; of names, each is encoded once, and none."""
    field = json.dumps(name) + ": "
    if isinstance(values, Coded):
        names = [field + json.dumps(one) for one in (*values.names, None)]
        return [names[code] for code in values.codes.tolist()]
    return [field + json.dumps(value) for value in values.tolist()]
