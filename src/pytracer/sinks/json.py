"""JSON: one object a line, flushed line by line; field names are the columns' names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from pytracer.model import Batch, Histograms, Item, Loss, Schema
from pytracer.sinks.text import bounds, timestamp


class JsonSink:
    """``{"kind": "row"|"summary"|"event"|"loss", ...}``. It is ASCII: a terminal cannot be misled by it."""

    def __init__(self, stream: TextIO, *, timestamps: bool) -> None:
        self._stream = stream
        self._timestamps = timestamps
        self._label = ""

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._label = histogram_field(schema)

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        for time, record in records(item, self._label):
            kind = {"kind": record.pop("kind")}
            if self._timestamps:
                kind["time"] = timestamp(time)
            self._stream.write(json.dumps(kind | record) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._stream.flush()


def histogram_field(schema: Schema) -> str:
    """The name of the field that holds a histogram's buckets: ``latency_ns``."""
    label: str = getattr(schema.output, "label", "")
    unit = getattr(schema.output, "unit", None)
    return f"{label}_{unit.value}" if unit is not None and unit.value else label


def records(item: Item, label: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """An item as (seconds since the epoch, flat record), in plain Python types."""
    if isinstance(item, Batch):
        # Whole milliseconds, which is what is shown: a float of them all would round, tables do not.
        for nanoseconds, row in zip(item.times.tolist(), item.rows(), strict=True):
            yield nanoseconds // 1_000_000 / 1e3, {"kind": item.kind} | row
    elif isinstance(item, Loss):
        yield item.time, {"kind": "loss", "reason": item.reason, "lost": item.lost, "meaning": item.meaning}
    elif isinstance(item, Histograms):
        for number, keys in enumerate(item.rows()):
            counts = item.counts[number].tolist()
            buckets = [
                {"low": bounds(slot)[0], "high": bounds(slot)[1], "count": count}
                for slot, count in enumerate(counts)
                if count
            ]
            yield item.time, {"kind": item.kind} | keys | {item.counter: sum(counts), label: buckets}
    else:
        for row in item.rows():
            yield item.time, {"kind": item.kind} | row
