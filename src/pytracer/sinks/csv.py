"""CSV: a header and one line a row (a bucket, for histograms). Losses fill the last two columns,
and so does an audit."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import Any, TextIO

from pytracer.model import Batch, Item, Schema, Statement
from pytracer.model.text_columns import column_texts, join_columns
from pytracer.sinks.folded import escape_name
from pytracer.sinks.formatting import timestamp, timestamps
from pytracer.sinks.json import histogram_field, records
from pytracer.spec import Histogram
from pytracer.text import all_harmless, harmless

_RUN = ("=", "+", "-", "@", "\t", "\r")  # what a cell begins with that spreadsheets take for a formula
_GUARD = "'"
_GUARDED = frozenset((*_RUN, _GUARD))
_QUOTE = '"'
_SPECIAL = re.compile('[,"\r\n]')  # of which one in a cell takes quotes


class CsvSink:
    """RFC 4180, with control characters in strings escaped as they are in tables.

    Unless ``raw``, text that a spreadsheet would run has an apostrophe before it, and text that begins with
    an apostrophe one more: taking off the first apostrophe of a cell gives the text. Numbers are left alone.
    """

    def __init__(self, stream: TextIO, *, timestamps: bool, raw: bool = False) -> None:
        self._stream = stream
        self._raw = raw
        self._timestamps = timestamps
        self._writer = csv.writer(stream, lineterminator="\n")
        self._fields: list[str] = []
        self._label = ""

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._label = histogram_field(schema)
        names = [column.name for column in schema.columns]
        if isinstance(schema.output, Histogram):
            names += [column.name for column in schema.output.percentiles.values()]
            names += ["low", "high", "count"]
        time = ["time"] if self._timestamps else []
        self._fields = ["kind", *time, *names, "reason", "lost"]
        self._writer.writerow(self._fields)
        self._stream.flush()

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if isinstance(item, Batch):
            self._stream.write(self._events(item))
            self._stream.flush()
            return
        for time, record in records(item, self._label):
            if isinstance(item, Statement):
                record |= {"reason": item.describe(), "lost": item.difference}
            if self._timestamps:
                record["time"] = timestamp(time // 1_000_000)
            for bucket in record.pop(self._label, [{}]) if self._label else [{}]:
                row: dict[str, Any] = record | bucket
                self._writer.writerow([self._cell(row.get(name)) for name in self._fields])
        self._stream.flush()

    def _events(self, item: Batch) -> str:
        """Format the lines of a batch."""
        columns: list[list[str]] = [[item.kind] * len(item)]
        if self._timestamps:
            columns.append([f",{time}" for time in timestamps(item.times)])
        columns += [
            column_texts(item.column(name), self._quoted, ",%s", encode_names=self._quote_names)
            for name in item.names
        ]
        return join_columns([*columns, [",,\n"] * len(item)])  # without a reason and a loss

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._stream.flush()

    def _quoted(self, value: Any) -> str:
        """Quote a cell as CSV requires."""
        cell = str(self._cell(value))
        return f'"{cell.replace(_QUOTE, 2 * _QUOTE)}"' if _SPECIAL.search(cell) else cell

    def _quote_names(self, names: Sequence[str]) -> list[str]:
        """Quote names, each as a cell."""
        cells = all_harmless(names)
        if not self._raw:
            cells = [_GUARD + cell if cell[:1] in _GUARDED else cell for cell in cells]
        return [
            f'"{cell.replace(_QUOTE, 2 * _QUOTE)}"' if _QUOTE in cell or "," in cell else cell
            for cell in cells
        ]

    def _cell(self, value: Any) -> Any:
        if value is None:
            return ""
        if isinstance(value, tuple):  # a stack, innermost first, or whatever there may be several of
            value = ";".join(escape_name(str(item)) for item in value)
        elif isinstance(value, str):
            value = harmless(value)
        else:
            return value
        return value if self._raw or not value.startswith((*_RUN, _GUARD)) else _GUARD + value
