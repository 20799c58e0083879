"""``-v``: events a second and losses, on standard error, while a stream is written."""

from __future__ import annotations

import time
from collections.abc import Callable

from pytracer.model import Batch, Item, Loss, Schema
from pytracer.sinks import Sink

_SECONDS = 1.0  # between two reports, at least


class RateSink:
    """Passes items on to a sink, and reports how many events there were: each second in which there are any,
    and in all at the end."""

    def __init__(self, sink: Sink, log: Callable[[str], None]) -> None:
        """Report rates by ``log``."""
        self._sink, self._log = sink, log
        self._is_stream = False
        self._events = self._lost = self._before = 0
        self._begun = self._reported = time.monotonic()

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._is_stream = schema.is_stream and not schema.is_listing
        self._begun = self._reported = time.monotonic()
        self._sink.open(schema)

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._sink.emit(item)
        if isinstance(item, Batch):
            self._events += len(item)
        elif isinstance(item, Loss):
            self._lost += item.lost
        now = time.monotonic()
        if self._is_stream and now - self._reported >= _SECONDS:
            rate = (self._events - self._before) / (now - self._reported)
            self._log(f"{rate:.0f} events/s, {self._lost} lost so far")
            self._reported, self._before = now, self._events

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._sink.close()
        if self._is_stream:
            seconds = time.monotonic() - self._begun
            self._log(f"{self._events} events in {seconds:.1f} s, {self._lost} lost")
