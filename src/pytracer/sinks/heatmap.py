"""Heat maps of histograms: one SVG file; time goes to the right, values upwards, colour is by count.

Rows are the buckets of the histograms, eight to a power of two (or fewer, where there are many). Percentiles
are lines. A cell's exact count is in its tooltip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from pytracer.arrays import Array, np
from pytracer.model import Histograms, Item, Schema
from pytracer.model.buckets import bounds
from pytracer.record import record
from pytracer.sinks.formatting import clock, format_bound
from pytracer.sinks.heat import SHARES, Interval, colour, intervals_of, merge, position, strength, used
from pytracer.sinks.heat_axes import (
    ABOVE,
    LEFT,
    SHOWN,
    counts_legend,
    document,
    time_axis,
)
from pytracer.sinks.picture_sink import PictureSink
from pytracer.sinks.svg import number, tag, text_of
from pytracer.spec import Column, Histogram

_COLUMNS_MAX, _ROWS_MAX, _PANELS_MAX = 400, 96, 12
_HEIGHT = 336  # pixels of a panel, at most
_LINES = dict(zip(SHARES, ("#0b5fb4", "#0a7d3c"), strict=True))


@record
class Panel:
    """The intervals of one key, with the buckets that its picture shows, ``step`` in a row."""

    name: str
    intervals: tuple[Interval, ...]
    first: int
    last: int
    step: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return -(-(self.last - self.first) // self.step)

    @property
    def row_height(self) -> float:
        """The height of a row in pixels."""
        return min(_HEIGHT / self.rows, 14)

    @property
    def height(self) -> float:
        """The height of the cells in pixels."""
        return self.rows * self.row_height

    @property
    def count(self) -> int:
        """The sum of all counts."""
        return int(sum(int(interval.counts.sum()) for interval in self.intervals))


class HeatMapSink(PictureSink):
    """Draws the histograms of each interval, a picture for each key."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._keys: dict[str, list[Interval]] = {}
        self._ends: list[tuple[float, float]] = []  # of each interval the time, and its seconds

    def add(self, item: Item, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.picture_sink.PictureSink`."""
        if isinstance(item, Histograms) and item.kind == "row":
            self._ends.append((item.time, item.seconds))
            for name, interval in intervals_of(item, schema):
                self._keys.setdefault(name, []).append(interval)

    def draw(self, schema: Schema) -> str:
        """See :class:`~pytracer.sinks.picture_sink.PictureSink`."""
        assert isinstance(schema.output, Histogram)
        panels = sorted(map(self._panel, self._keys), key=lambda panel: -panel.count)
        notes = list(self.notes)
        if len(panels) > _PANELS_MAX:
            rest = sum(panel.count for panel in panels[_PANELS_MAX:])
            notes.append(
                f"{len(panels) - _PANELS_MAX} more with {rest} {schema.counters[0].name} are not drawn"
            )
            panels = panels[:_PANELS_MAX]
        begin, end = span(self._ends)
        parts, y = list[str](), ABOVE
        for panel in panels:
            parts += _draw_panel(panel, schema.counters[0], schema.output, (begin, end), y)
            y += round(panel.height) + 74
        total = sum(panel.count for panel in panels)
        title = f"{schema.tracer}: {schema.output.label}, {total} {schema.counters[0].name}"
        return document(title, parts, y, notes, total=total)

    def _panel(self, name: str) -> Panel:
        """Return the panel of a key: an interval in which it has nothing is empty."""
        interval_by_end = {interval.end: interval for interval in self._keys[name]}
        empty = np.zeros_like(self._keys[name][0].counts)
        all_intervals = [
            interval_by_end.get(end) or Interval(end, seconds, empty, 0) for end, seconds in self._ends
        ]
        merged = merge(all_intervals, _COLUMNS_MAX)
        first, last = used(np.sum([merged_interval.counts for merged_interval in merged], axis=0))
        step = next(step for step in (1, 2, 4, 8) if step == 8 or (last - first) // step < _ROWS_MAX)
        return Panel(name, tuple(merged), first // step * step, last, step)


def span(times: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the begin and the end of intervals, which are given by their ends and lengths."""
    if not times:
        return 0.0, 1.0
    return times[0][0] - times[0][1], times[-1][0]


def _draw_panel(
    panel: Panel, counter: Column, output: Histogram, times: tuple[float, float], y: int
) -> Iterator[str]:
    count_text = f"{panel.count} {counter.name}"
    heading = f"{panel.name}: {count_text}" if panel.name else count_text
    yield tag("text", text_of(heading), class_="panel", x=LEFT, y=y)
    top = y + 10
    groups = [_sum_rows(panel, interval.counts) for interval in panel.intervals]
    maximum = max((int(group.max(initial=0)) for group in groups), default=0)
    yield tag("rect", class_="plot", x=LEFT, y=top, width=SHOWN, height=number(panel.height))
    yield from _draw_value_axis(panel, output, top)
    pixels = SHOWN / (times[1] - times[0])
    lines: dict[float, list[tuple[float, float, float]]] = {share: [] for share in SHARES}
    for interval, group in zip(panel.intervals, groups, strict=True):
        x = LEFT + (interval.end - interval.seconds - times[0]) * pixels
        width = interval.seconds * pixels
        for row in np.flatnonzero(group).tolist():
            count = int(group[row])
            low = bounds(panel.first + row * panel.step)[0]
            high = bounds(min(panel.first + (row + 1) * panel.step, 496) - 1)[1]
            range_text = f"[{format_bound(low, output.unit)}, {format_bound(high, output.unit)})"
            yield tag(
                "rect",
                tag(
                    "title",
                    text_of(
                        f"{clock(interval.end)}, {interval.seconds:.3g} s,"
                        f" {range_text}: {count} {counter.name}"
                    ),
                ),
                class_="cell",
                x=number(x),
                y=number(top + panel.height - (row + 1) * panel.row_height),
                width=number(max(width - 0.3, 0.5)),
                height=number(max(panel.row_height - 0.3, 0.5)),
                fill=colour(strength(count, maximum)),
                data_n=count,
            )
        if group.any():
            for share, value in zip(SHARES, interval.percentiles, strict=True):
                row_at = (position(value) - panel.first) / panel.step
                lines[share].append((x, x + width, top + panel.height - row_at * panel.row_height))
    for share, steps in lines.items():
        path = " ".join(f"M{number(a)} {number(h)}H{number(b)}" for a, b, h in steps)
        if path:
            yield tag("path", class_="line", d=path, stroke=_LINES[share])
    bottom = top + round(panel.height)
    yield from time_axis(times, bottom)
    yield from counts_legend(maximum, bottom + 34)
    for index, share in enumerate(SHARES):
        column = output.percentiles[share]
        x_text = LEFT + 420 + index * 90
        yield tag("rect", x=x_text, y=bottom + 28, width=18, height=3, fill=_LINES[share])
        yield tag("text", text_of(column.header.lower()), x=x_text + 24, y=bottom + 34)


def _sum_rows(panel: Panel, counts: Array) -> Array:
    """Add up the buckets of each row."""
    padded = np.zeros(panel.rows * panel.step, counts.dtype)
    part = counts[panel.first : panel.first + len(padded)]
    padded[: len(part)] = part
    added: Array = padded.reshape(panel.rows, panel.step).sum(axis=1)
    return added


def _draw_value_axis(panel: Panel, output: Histogram, top: int) -> Iterator[str]:
    """Label the powers of two, as many as there is room for."""
    next_y = 0.0
    for bucket in range(-(-panel.first // 8) * 8, panel.last + 8, 8):
        y = top + panel.height - (bucket - panel.first) / panel.step * panel.row_height
        if y < top - 1 or (next_y and next_y - y < 13):
            continue
        next_y = y
        label = format_bound(bounds(bucket)[0], output.unit) if bucket < 496 else ""
        yield tag("text", text_of(label), class_="end", x=LEFT - 6, y=number(y + 4))
        yield tag("path", class_="grid", d=f"M{LEFT} {number(y)}H{LEFT + SHOWN}")
