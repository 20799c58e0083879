"""Markdown: the tables that people read, for issues and notes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TextIO

from pytracer.model import Batch, Histograms, Item, Loss, Schema, Snapshot, Statement
from pytracer.model.buckets import power_bounds
from pytracer.sinks.folded import fold
from pytracer.sinks.formatting import cell, clock, format_bound
from pytracer.spec import Column, Histogram
from pytracer.text import harmless

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$]|^[#+=-])")


class MarkdownSink:
    """Writes a table for each interval; events are one continuous table. Text is escaped: nothing in it is
    markup."""

    def __init__(self, stream: TextIO, *, timestamps: bool, wide: bool = False) -> None:
        self._stream = stream
        self._timestamps = timestamps
        self._wide = wide
        self._schema: Schema | None = None
        self._columns: list[Column] = []
        self._in_table = False

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._schema = schema
        self._columns = [column for column in schema.columns if self._wide or not column.wide]

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if isinstance(item, Loss):
            self._paragraph(f"lost: {item.lost} {item.meaning}")
        elif isinstance(item, Statement):
            self._paragraph(item.describe())
        elif isinstance(item, Batch):
            if not self._in_table:
                self._head([column.header for column in self._columns], self._columns)
            times = [clock(time // 1_000_000_000) for time in item.times.tolist()]
            self._rows((time, self._cells(row)) for time, row in zip(times, item.value_rows(), strict=True))
            self._in_table = True
        else:
            title = clock(item.time) if item.kind == "row" else "whole run"
            self._paragraph(f"{title}, {item.seconds:.1f} s")
            if isinstance(item, Histograms):
                self._histograms(item)
            else:
                self._table(item)
            self._stream.write("\n")
        self._stream.flush()

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._stream.flush()

    def _paragraph(self, text: str) -> None:
        self._stream.write(("\n" if self._in_table else "") + _escape(text) + "\n\n")
        self._in_table = False

    def _table(self, item: Snapshot) -> None:
        self._head([column.header for column in self._columns], self._columns)
        self._rows((clock(item.time), self._cells(row)) for row in item.value_rows())

    def _histograms(self, item: Histograms) -> None:
        assert self._schema is not None
        assert isinstance(self._schema.output, Histogram)
        output, columns = self._schema.output, {column.name: column for column in self._schema.columns}
        columns |= {column.name: column for column in output.percentiles.values()}
        for counts, keys, values in zip(item.counts.tolist(), item.key_rows(), item.measures(), strict=True):
            name = ", ".join(cell(value, columns[key]) for key, value in keys.items())
            measures = [
                f"{columns[key].header.lower()} {cell(key_value, columns[key])}"
                for key, key_value in values.items()
            ]
            text = f"{sum(counts)} {item.counter}, {output.label}; {', '.join(measures)}"
            self._paragraph(f"{name}: {text}" if name else text)
            self._write(["from", "to", item.counter])
            self._rule([False] * 3)
            for slot, count in enumerate(counts):
                if count:
                    self._write(
                        [
                            *(format_bound(key_value, output.unit) for key_value in power_bounds(slot)),
                            str(count),
                        ]
                    )
            self._stream.write("\n")

    def _head(self, names: Sequence[str], columns: Sequence[Column]) -> None:
        time = ["TIME"] if self._timestamps else []
        self._write([*time, *names])
        self._rule([*(True for _ in time), *(column.is_text for column in columns)])

    def _rows(self, rows: Iterator[tuple[str, list[str]]]) -> None:
        for time, cells in rows:
            self._write([*([time] if self._timestamps else []), *cells])

    def _cells(self, row: dict[str, object]) -> list[str]:
        return [
            fold(value) if column.decode == "stack" and isinstance(value, tuple) else cell(value, column)
            for column, value in ((column, row[column.name]) for column in self._columns)
        ]

    def _write(self, cells: Sequence[str]) -> None:
        self._stream.write(f"| {' | '.join(map(_escape, cells))} |\n")

    def _rule(self, left: Sequence[bool]) -> None:
        """Write the line below the head: which columns are aligned to the left."""
        self._stream.write(f"| {' | '.join('---' if is_left else '---:' for is_left in left)} |\n")


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", harmless(text))
