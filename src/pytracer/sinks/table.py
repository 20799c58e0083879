"""Tables, histograms and stacks for people. In place on a terminal, one after the other elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TextIO

from pytracer.model import Batch, Histograms, Item, Loss, Schema, Snapshot, StackSnapshot, Statement
from pytracer.model.buckets import ERROR, power_bounds
from pytracer.model.text_columns import column_texts, join_columns
from pytracer.sinks.formatting import (
    align,
    cell,
    character_width,
    clock,
    display_width,
    format_bound,
    is_plain,
)
from pytracer.spec import Breakdown, Column, Histogram, Unit
from pytracer.text import all_harmless, harmless

_BAR = 40
_TITLE_AND_PROMPT = 4  # lines of a screen that a table leaves free
_CLOCK = len("23:59:59.999")
_MARGIN = 2  # characters by which a column of a table is wider than its header
_COMMON = {Unit.NONE: 7, Unit.COUNT: 8, Unit.NANOSECONDS: 10, Unit.BYTES: 8, Unit.PERCENT: 4}  # characters


class TableSink:
    """A title line and a table for each item; a loss is a line of its own."""

    def __init__(self, stream: TextIO, *, timestamps: bool, in_place: bool, wide: bool = False) -> None:
        self._stream = stream
        self._timestamps = timestamps
        self._in_place = in_place
        self._wide = wide
        self._schema: Schema | None = None
        self._columns: list[Column] = []
        self._shown = 0  # lines of the last interval that are still on the screen
        self._anything = False
        self._widths: list[int] = []

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._schema = schema
        self._columns = [column for column in schema.columns if self._wide or not column.wide]
        if schema.is_stream:
            self._widths = [_column_width(column) for column in self._columns]
            heads = [_pad([c.header], c, w)[0] for c, w in zip(self._columns, self._widths, strict=True)]
            self._write(["  ".join([*(["TIME".ljust(_CLOCK)] if self._timestamps else []), *heads])])

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if isinstance(item, Loss):
            self._write([f"lost: {item.lost} {item.meaning}"])
            self._shown = 0
            return
        if isinstance(item, Statement):
            self._write([item.describe()])
            self._shown = 0
            return
        if isinstance(item, Batch):
            self._stream.write(self._events(item))
            self._stream.flush()
            self._anything = True
            return
        title = f"whole run, {item.seconds:.1f} s"
        if item.kind == "row":
            title = f"{clock(item.time)}, {item.seconds:.1f} s"
        lines = [title, *self._lines(item)]
        if self._in_place:
            lines = self._fit(lines, item)
            if self._shown:
                self._stream.write(f"\x1b[{self._shown}A\x1b[J")
        elif self._anything:
            self._stream.write("\n")
        self._write(lines)
        self._shown = len(lines) if item.kind == "row" else 0

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._stream.flush()

    def _write(self, lines: list[str]) -> None:
        self._stream.write("".join(line.rstrip() + "\n" for line in lines))
        self._stream.flush()
        self._anything = True

    def _fit(self, lines: list[str], item: Snapshot | Histograms) -> list[str]:
        """Cut a table to the height of the screen, since a table that scrolls could not be overwritten."""
        import shutil

        size = shutil.get_terminal_size()
        height = max(size.lines - _TITLE_AND_PROMPT, 3)
        if item.kind == "row" and len(lines) > height:
            omitted = len(lines) - height
            lines = [*lines[:height], f"... and {omitted} more lines; --top N, or a pipe, for a choice"]
        return [_cut(line, size.columns) for line in lines]

    def _lines(self, item: Snapshot | Histograms) -> list[str]:
        if isinstance(item, Histograms):
            return self._histograms(item)
        if not isinstance(item, StackSnapshot):
            return self._table(item)
        assert self._schema is not None
        if isinstance(self._schema.output, Breakdown):
            from pytracer.sinks.page import Page

            return Page(self._schema.output, self._schema.keys).lines(item)
        return self._stacks(item)

    def _table(self, item: Snapshot) -> list[str]:
        rows = list(item.value_rows())
        if not rows:
            return ["nothing seen"]
        padded = list[list[str]]()
        for column in self._columns:
            texts = [column.header, *(cell(row[column.name], column) for row in rows)]
            width = max(len(column.header) + _MARGIN, *map(display_width, texts))
            padded.append(_pad(texts, column, width))
        if self._timestamps:
            now = clock(item.time)
            padded.insert(0, ["TIME".ljust(len(now)), *[now] * len(rows)])
        return ["  ".join(line) for line in zip(*padded, strict=True)]

    def _events(self, item: Batch) -> str:
        """Format the lines of a batch; the last column is not padded."""
        columns = list[list[str]]()
        if self._timestamps:
            moments = [divmod(time // 1_000_000, 1000) for time in item.times.tolist()]
            columns.append([f"{clock(second)}.{rest:03}  " for second, rest in moments])
        for column, width in zip(self._columns, self._widths, strict=True):
            is_last = column is self._columns[-1]
            encode = functools.partial(_format_event_cell, column=column, width=width, is_last=is_last)
            form = f"%{'' if column.is_text else width}s{'' if is_last else '  '}"
            encode_names = functools.partial(_format_names, width=width, is_last=is_last)
            values = item.column(column.name)
            columns.append(
                column_texts(values, encode, form, is_plain=is_plain(column), encode_names=encode_names)
            )
        text = join_columns([*columns, ["\n"] * len(item)])
        return text if all(columns[-1]) else "".join(f"{line.rstrip()}\n" for line in text.splitlines())

    def _stacks(self, item: StackSnapshot) -> list[str]:
        """Return a paragraph for each stack: its counters, keys, and functions, innermost first."""
        assert self._schema is not None
        counters = {column.name: column for column in self._schema.counters}
        stacks = [c.name for c in self._schema.columns if c.decode == "stack"]
        label_columns = [c for c in self._schema.columns if c.name not in {*stacks, *counters}]
        lines: list[str] = []
        for row in item.value_rows():
            counts = [
                f"{cell(row[name], column)} {column.header.lower()}" for name, column in counters.items()
            ]
            if self._timestamps:
                counts.insert(0, clock(item.time))
            lines += ["", ", ".join([*counts, *(f"{c.name} {cell(row[c.name], c)}" for c in label_columns)])]
            # Between the two parts is where the program called the kernel.
            before = ""
            for part in stacks:
                waker = part.rpartition("_")[0]
                if row[part] and (before or waker):
                    lines.append("  -- woken by" if waker != before.rpartition("_")[0] else "  --")
                if row[part]:
                    lines += [f"  {harmless(name)}" for name in row[part]]
                    before = part
        return lines or ["nothing seen"]

    def _histograms(self, item: Histograms) -> list[str]:
        assert self._schema is not None
        assert isinstance(self._schema.output, Histogram)
        output, columns = self._schema.output, {c.name: c for c in self._schema.columns}
        lines: list[str] = []
        for counts, row, values in zip(item.counts.tolist(), item.key_rows(), item.measures(), strict=True):
            keys = ", ".join(cell(value, columns[name]) for name, value in row.items())
            count_text = f"{sum(counts)} {item.counter}, {output.label}"
            lines += ["", f"{keys}: {count_text}" if keys else count_text]
            lines += histogram_bars(counts, output.unit)
            shares = {column.name: column for column in output.percentiles.values()}
            for column_names, note in ((columns, ""), (shares, f" (within {ERROR:.2%})")):
                texts = [
                    f"{c.header.lower()} {cell(values[name], c)}"
                    for name, c in column_names.items()
                    if name in values
                ]
                lines += [f"  {', '.join(texts)}{note}"] if texts else []
        return lines or ["nothing seen"]


def _column_width(column: Column) -> int:
    """Return the width of a column of events, in characters."""
    return max(len(column.header), column.width or (0 if column.is_text else _COMMON[column.unit]))


def _format_event_cell(value: Any, column: Column, width: int, *, is_last: bool) -> str:
    """Return a cell of an event, text filled to its width; the last of a line ends without blanks."""
    text = cell(value, column)
    if is_last:
        return text.rstrip()
    return align(text, width) if column.is_text else text


def _format_names(names: Sequence[str], width: int, *, is_last: bool) -> list[str]:
    """Format names, each as a cell of an event."""
    texts = all_harmless(names)
    return [text.rstrip() for text in texts] if is_last else [align(text, width) for text in texts]


def _pad(texts: list[str], column: Column, width: int) -> list[str]:
    """Align numbers to the right."""
    if column.is_text:
        return [text.ljust(width) if text.isascii() else align(text, width) for text in texts]
    return [text.rjust(width) for text in texts]


def _cut(line: str, columns: int) -> str:
    """Cut ``line`` to the width. Some characters are two columns wide."""
    if line.isascii():
        return line[:columns]
    for end, character in enumerate(line):
        columns -= character_width(character)
        if columns < 0:
            return line[:end]
    return line


def histogram_bars(counts: list[int], unit: Unit, width: int = _BAR) -> list[str]:
    """Return a line for each bucket from the first to the last with a count, with a bar of ``width``."""
    filled = [slot for slot, count in enumerate(counts) if count]
    slots = range(filled[0], filled[-1] + 1) if filled else range(0)
    spans = [
        f"[{format_bound(low, unit)}, {format_bound(high, unit)})" for low, high in map(power_bounds, slots)
    ]
    widest = max(24, *map(len, spans)) if spans else 0  # characters that most histograms do with
    longest = max(10, len(str(max(counts, default=0))))
    bars = ["@" * round(width * counts[slot] / max(counts)) for slot in slots]
    return [
        f"  {span:<{widest}} {counts[slot]:>{longest}} |{bar:<{width}}|"
        for slot, span, bar in zip(slots, spans, bars, strict=True)
    ]
