"""The format ``heatmap``: a picture for the output's shape, or lines on a terminal."""

from __future__ import annotations

from typing import TextIO

from pytracer.model import Item, Schema
from pytracer.sinks import Sink


class HeatSink:
    """Lines on a terminal, elsewhere an SVG picture.

    Histograms are shown by value, stacks by part of a second."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._sink: Sink | None = None

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if self._stream.isatty():
            from pytracer.sinks.heat_lines import HeatLinesSink

            self._sink = HeatLinesSink(self._stream)
        elif schema.is_stacks:
            from pytracer.sinks.offset_map import OffsetMapSink

            self._sink = OffsetMapSink(self._stream)
        else:
            from pytracer.sinks.heatmap import HeatMapSink

            self._sink = HeatMapSink(self._stream)
        self._sink.open(schema)

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        assert self._sink is not None
        self._sink.emit(item)

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if self._sink is not None:
            self._sink.close()
