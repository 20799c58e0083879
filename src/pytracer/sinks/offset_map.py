"""Sub-second offset heat maps of stacks: a column for each second, rows are parts of it, colour is by count.

Work that comes in bursts, or in steps with a clock, is a pattern here, and a mean in a flame graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from pytracer.model import Item, Schema, StackSnapshot
from pytracer.sinks.formatting import cell, clock
from pytracer.sinks.heat import colour, strength
from pytracer.sinks.heat_axes import ABOVE, LEFT, SHOWN, counts_legend, document, time_axis
from pytracer.sinks.picture_sink import PictureSink
from pytracer.sinks.svg import number, tag, text_of
from pytracer.spec import Column

ROWS = 50
_ROW_HEIGHT = 8  # pixels
_WIDEST = 24  # pixels of a second


class SecondParts:
    """Counts by second and part of a second.

    The counts of an interval belong to the part that contains its middle, so intervals must not be longer
    than a part.
    """

    def __init__(self) -> None:
        """Start without counts."""
        self.counts: dict[tuple[int, int], int] = {}
        self.first = self.last = 0

    def add(self, item: StackSnapshot, counter: str) -> int:
        """Add an interval; the second that it is in."""
        middle = item.time - item.seconds / 2
        second = int(middle)
        cell = second, min(int((middle - second) * ROWS), ROWS - 1)
        count = sum(map(int, item.columns[counter]))
        self.counts[cell] = self.counts.get(cell, 0) + count
        self.first = min(self.first or second, second)
        self.last = max(self.last, second)
        return second


class OffsetMapSink(PictureSink):
    """Draws a whole run."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._parts = SecondParts()

    def add(self, item: Item, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.picture_sink.PictureSink`."""
        if isinstance(item, StackSnapshot) and item.kind == "row":
            self._parts.add(item, schema.counters[0].name)

    def draw(self, schema: Schema) -> str:
        """See :class:`~pytracer.sinks.picture_sink.PictureSink`."""
        column, parts = schema.counters[0], self._parts
        total = sum(parts.counts.values())
        title = f"{schema.tracer}: {cell(total, column)} {column.header.lower()} by part of a second"
        cells = list(self._cells(column)) if parts.counts else []
        bottom = ABOVE + ROWS * _ROW_HEIGHT + 60
        return document(title, cells, bottom, self.notes, total=total)

    def _cells(self, column: Column) -> Iterator[str]:
        parts = self._parts
        maximum = max(parts.counts.values())
        seconds = parts.last - parts.first + 1
        width = min(SHOWN / seconds, _WIDEST)
        bottom = ABOVE + ROWS * _ROW_HEIGHT
        yield tag(
            "rect", class_="plot", x=LEFT, y=ABOVE, width=number(width * seconds), height=bottom - ABOVE
        )
        for (second, part), count in sorted(parts.counts.items()):
            if count:
                time_text = f"{clock(second)}.{part * 1000 // ROWS:03}"
                yield tag(
                    "rect",
                    tag("title", text_of(f"{time_text}: {cell(count, column)} {column.header.lower()}")),
                    class_="cell",
                    x=number(LEFT + (second - parts.first) * width),
                    y=bottom - (part + 1) * _ROW_HEIGHT,
                    width=number(max(width - 0.3, 0.5)),
                    height=_ROW_HEIGHT - 0.3,
                    fill=colour(strength(count, maximum)),
                    data_n=count,
                )
        for tick in range(0, 11, 2):
            y = bottom - tick * ROWS * _ROW_HEIGHT / 10
            yield tag("text", f"{tick * 100} ms", class_="end", x=LEFT - 6, y=number(y + 4))
        yield from time_axis((parts.first, parts.last + 1), bottom, width * seconds)
        yield from counts_legend(maximum, bottom + 34)
