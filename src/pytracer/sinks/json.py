"""JSON: one object a line, a batch of events at a time; field names are the columns' names.

:mod:`pytracer.sinks.json_schema` describes the objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from pytracer.model import Batch, Histograms, Item, Loss, Schema, Snapshot, Statement
from pytracer.model.items import buckets
from pytracer.model.tabular import nanoseconds_of
from pytracer.model.text_columns import column_texts, join_columns
from pytracer.sinks.formatting import timestamp, timestamps

_encode = json.JSONEncoder().encode
_encode_list = json.JSONEncoder(separators=("\n", ":")).encode


class JsonSink:
    """``{"kind": "row"|"summary"|"event"|"loss"|"totals"|"audit", "time_ns": ..., ...}``, in ASCII: no
    terminal is misled by it. An item that covers a span of time has its length, ``interval_ns``."""

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
            self._stream.write(self._events(item))
            self._stream.flush()
            return
        span = interval_of(item)
        for time, record in records(item, self._label):
            kind = {"kind": record.pop("kind")}
            if self._timestamps:
                kind["time"] = timestamp(time // 1_000_000)
            self._stream.write(json.dumps(kind | {"time_ns": time} | span | record) + "\n")
        self._stream.flush()

    def _events(self, item: Batch) -> str:
        """Format the lines of a batch."""
        first = f'{{"kind": {_encode(item.kind)}, '
        columns = list[list[str]]()
        if self._timestamps:
            columns.append([first + f'"time": {_encode(time)}, ' for time in timestamps(item.times)])
            first = ""
        columns.append(column_texts(item.times, _encode, f'{first}"time_ns": %s'))
        for name in item.names:  # of an expression, which may have a percent sign
            form = f", {_encode(name).replace('%', '%%')}: %s"
            columns.append(column_texts(item.column(name), _encode, form, encode_names=_encode_names))
        return join_columns([*columns, ["}\n"] * len(item)])

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._stream.flush()


def _encode_names(names: Sequence[str]) -> list[str]:
    """Encode strings at once. A newline divides them, as each within them is escaped."""
    return _encode_list(list(names))[1:-1].split("\n") if names else []


def histogram_field(schema: Schema) -> str:
    """Return the name of the field for a histogram's buckets: ``latency_ns``."""
    label: str = getattr(schema.output, "label", "")
    unit = getattr(schema.output, "unit", None)
    return f"{label}_{unit.value}" if unit is not None and unit.value else label


def interval_of(item: Item) -> dict[str, int]:
    """Return the field for the length of time that an item covers; none for an item about one moment."""
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
    elif isinstance(item, Statement):
        yield time, {"kind": item.kind} | item.record()
    elif isinstance(item, Histograms):
        for counts, keys, values in zip(item.counts.tolist(), item.key_rows(), item.measures(), strict=True):
            yield (
                time,
                {"kind": item.kind} | keys | {item.counter: sum(counts)} | values | {label: buckets(counts)},
            )
    else:
        for row in item.value_rows():
            yield time, {"kind": item.kind} | row
