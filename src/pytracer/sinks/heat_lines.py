"""Heat maps on a terminal: a line for each interval as it ends, time goes downwards."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TextIO

from pytracer.arrays import Array, np
from pytracer.model import Histograms, Item, Loss, Schema, StackSnapshot
from pytracer.model.buckets import BUCKETS, bounds
from pytracer.sinks.formatting import align, cell, clock, display_width, format_bound
from pytracer.sinks.heat import SHARES, Interval, intervals_of, strength, used
from pytracer.sinks.offset_map import ROWS, SecondParts
from pytracer.spec import Histogram

_SHADES = " ░▒▓█"
_ASCII = " .:*#"
_BESIDE = 50  # characters that are beside the map
_MARGIN = 8  # buckets that the map has more than is used, at each side: a power of two


class HeatLinesSink:
    """Lines of characters, the darker the more was counted.

    Histograms have a line for each key and interval, by value; stacks one for each second, by its parts."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._schema: Schema | None = None
        self._first, self._last, self._step = 0, 0, 1
        self._widest = 0  # of names of keys
        self._parts = SecondParts()
        self._second = 0  # that is not shown yet
        encoding = (getattr(stream, "encoding", "") or "").lower().replace("-", "")
        self._shades = _SHADES if encoding == "utf8" else _ASCII

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._schema = schema

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        assert self._schema is not None
        if isinstance(item, Loss):
            self._write(f"lost: {item.lost} {item.meaning}")
        elif isinstance(item, Histograms) and item.kind == "row":
            intervals = intervals_of(item, self._schema)
            if intervals:
                self._widen(intervals)
            for name, interval in intervals:
                self._write(self._line(name, interval, self._schema))
        elif isinstance(item, StackSnapshot) and item.kind == "row":
            second = self._parts.add(item, self._schema.counters[0].name)
            if self._second and second > self._second:
                self._show_second()
            self._second = second
        self._stream.flush()

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if self._second:
            self._show_second()
        self._stream.flush()

    def _write(self, line: str) -> None:
        self._stream.write(line.rstrip() + "\n")

    def _widen(self, intervals: Sequence[tuple[str, Interval]]) -> None:
        """Make room for buckets that are not on the axis yet, and write the axis when it changes."""
        assert self._schema is not None
        assert isinstance(self._schema.output, Histogram)
        first, last = used(np.sum([interval.counts for _, interval in intervals], axis=0))
        widest = max(display_width(name) for name, _ in intervals)
        if self._first <= first and last <= self._last and widest <= self._widest:
            return
        current_bounds = (self._first, self._last) if self._last else (first, last)
        self._first = max(min(first - _MARGIN, current_bounds[0]) // 8 * 8, 0)
        self._last = min(-(-max(last + _MARGIN, current_bounds[1]) // 8) * 8, BUCKETS)
        self._widest = max(widest, self._widest)
        columns = max(shutil.get_terminal_size().columns - _BESIDE - self._widest, 16)
        self._step = next(
            step for step in (1, 2, 4, 8) if step == 8 or (self._last - self._first) / step <= columns
        )
        axis = ""
        for bucket in range(self._first, self._last, 8):
            label = format_bound(bounds(bucket)[0], self._schema.output.unit)
            row = (bucket - self._first) // self._step
            if row >= len(axis) + bool(axis):
                axis = axis.ljust(row) + label
        self._write(f"{'':<8}  {'':<{self._widest}}  {axis}")

    def _line(self, name: str, interval: Interval, schema: Schema) -> str:
        assert isinstance(schema.output, Histogram)
        part = (
            interval.counts[self._first : self._last].reshape(-1, self._step)
            if self._last
            else np.zeros((0, 1))
        )
        counts = part.sum(axis=1)
        columns = [schema.output.percentiles[share] for share in SHARES]
        values = interval.percentiles
        words = [f"{c.header.lower()} {cell(value, c)}" for c, value in zip(columns, values, strict=True)]
        text = f"{int(interval.counts.sum()):>7}  {', '.join(words)}"
        return f"{clock(interval.end)}  {align(name, self._widest)} |{self._shaded(counts)}|{text}"

    def _show_second(self) -> None:
        assert self._schema is not None
        counts = np.array([self._parts.counts.get((self._second, part), 0) for part in range(ROWS)])
        column = self._schema.counters[0]
        text = f"{cell(int(counts.sum()), column)} {column.header.lower()}"
        self._write(f"{clock(self._second)} |{self._shaded(counts)}| {text}")

    def _shaded(self, counts: Array) -> str:
        """Return a character for each count: a blank for none alone."""
        maximum, levels = int(counts.max(initial=0)), len(self._shades) - 1
        return "".join(
            self._shades[1 + round(strength(count, maximum) * (levels - 1)) if count else 0]
            for count in counts.tolist()
        )
