"""JSON: one object a line, flushed line by line; field names are the columns' names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from pytracer.arrays import Array
from pytracer.model import AuditResult, Batch, Coded, Histograms, Item, Loss, Schema
from pytracer.model.items import buckets
from pytracer.sinks.formatting import timestamp


class JsonSink:
    """``{"kind": "row"|"summary"|"event"|"loss"|"audit", ...}``, in ASCII: no terminal is misled by it."""

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
        for time, record in records(item, self._label):
            kind = {"kind": record.pop("kind")}
            if self._timestamps:
                kind["time"] = timestamp(time)
            self._stream.write(json.dumps(kind | record) + "\n")
        self._stream.flush()

    def _events(self, item: Batch) -> Iterator[str]:
        """The lines of a batch, put together by column."""
        fields = [_encode_column(name, item.column(name)) for name in item.names]
        if self._timestamps:
            fields.insert(0, [f'"time": "{timestamp(_seconds(time))}"' for time in item.times.tolist()])
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


def records(item: Item, label: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """Convert an item to (seconds since the epoch, flat record), in plain Python types."""
    if isinstance(item, Batch):
        for nanoseconds, row in zip(item.times.tolist(), item.value_rows(), strict=True):
            yield _seconds(nanoseconds), {"kind": item.kind} | row
    elif isinstance(item, Loss):
        yield item.time, {"kind": "loss", "reason": item.reason, "lost": item.lost, "meaning": item.meaning}
    elif isinstance(item, AuditResult):
        yield item.time, {"kind": "audit"} | item.record()
    elif isinstance(item, Histograms):
        for counts, keys, values in zip(item.counts.tolist(), item.key_rows(), item.measures(), strict=True):
            yield (
                item.time,
                {"kind": item.kind} | keys | {item.counter: sum(counts)} | values | {label: buckets(counts)},
            )
    else:
        for row in item.value_rows():
            yield item.time, {"kind": item.kind} | row


def _encode_column(name: str, values: Array | Coded) -> list[str]:
    """A column of a batch as fields of objects; of names, each is encoded once, and none."""
    field = json.dumps(name) + ": "
    if isinstance(values, Coded):
        names = [field + json.dumps(one) for one in (*values.names, None)]
        return [names[code] for code in values.codes.tolist()]
    return [field + json.dumps(value) for value in values.tolist()]


def _seconds(nanoseconds: int) -> float:
    """Cut to the milliseconds that are shown: a float of them all would round, and tables do not."""
    return nanoseconds // 1_000_000 / 1e3
