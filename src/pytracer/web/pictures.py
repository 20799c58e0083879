"""Draw pictures of a running trace by the sinks that draw whole runs."""

from __future__ import annotations

import io
import threading
from collections import deque
from typing import Protocol

from pytracer.model import Item, Loss, Schema, StackSnapshot
from pytracer.record import replace

_INTERVALS = 600  # that a heat map has, the newest
_STACKS = 500_000  # rows that a flame graph is made of, at most
FLAMEGRAPH, HEATMAP = "flame graph", "heat map"


class LivePicture(Protocol):
    """A picture; ``add`` may be called from another thread than ``draw``."""

    name: str

    def add(self, item: Item) -> None:
        """Add an item of the run."""
        ...

    def draw(self) -> str:
        """Return the picture so far, an SVG document."""
        ...


def make_picture(schema: Schema) -> LivePicture | None:
    """Return the picture of a run with this schema, if there is one."""
    if schema.is_stacks:
        return LiveFlameGraph(schema)
    return LiveHeatMap(schema) if schema.is_histogram else None


class LiveFlameGraph:
    """The stacks of all intervals so far."""

    name = FLAMEGRAPH

    def __init__(self, schema: Schema) -> None:
        from pytracer.sinks.stack_samples import StackSamples

        self._schema = schema
        self._samples = StackSamples(schema)
        self._lock = threading.Lock()
        self._rows, self._seconds = 0, 0.0

    def add(self, item: Item) -> None:
        """See :class:`LivePicture`."""
        with self._lock:
            if isinstance(item, Loss):
                self._samples.add(item)
            elif isinstance(item, StackSnapshot) and item.kind == "row":
                self._rows += len(item)
                if self._rows > _STACKS:
                    self._samples.add(Loss("unshown", 1, "interval beyond what a picture has", item.time))
                    return
                # Intervals add up to the whole run, which samples are made of.
                self._seconds += item.seconds
                self._samples.add(replace(item, kind="summary", seconds=self._seconds))

    def draw(self) -> str:
        """See :class:`LivePicture`."""
        from pytracer.sinks.flamegraph import FlameGraphSink

        stream = io.StringIO()
        with self._lock:
            FlameGraphSink(stream).write(self._schema, self._samples)
        return stream.getvalue()


class LiveHeatMap:
    """The histograms of the last intervals."""

    name = HEATMAP

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._items: deque[Item] = deque(maxlen=_INTERVALS)

    def add(self, item: Item) -> None:
        """See :class:`LivePicture`."""
        self._items.append(item)

    def draw(self) -> str:
        """See :class:`LivePicture`."""
        from pytracer.sinks.heatmap import HeatMapSink

        stream = io.StringIO()
        sink = HeatMapSink(stream)
        sink.open(self._schema)
        for item in list(self._items):
            sink.emit(item)
        sink.close()
        return stream.getvalue()
