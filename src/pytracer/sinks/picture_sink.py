"""The base of sinks that draw a whole run at its end, with a line for each loss."""

from __future__ import annotations

from typing import TextIO

from pytracer.model import Item, Loss, Schema


class PictureSink:
    """Collects items, and writes a picture when it is closed. ``notes`` are lines below it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._schema: Schema | None = None
        self.notes: list[str] = []

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._schema = schema

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        assert self._schema is not None
        if isinstance(item, Loss):
            self.notes.append(f"lost: {item.lost} {item.meaning}")
        else:
            self.add(item, self._schema)

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if self._schema is not None:
            self._stream.write(self.draw(self._schema))
            self._stream.flush()
        self._schema = None

    def add(self, item: Item, schema: Schema) -> None:
        """Add an item that is no loss."""
        raise NotImplementedError

    def draw(self, schema: Schema) -> str:
        """Return the picture as an SVG document."""
        raise NotImplementedError
