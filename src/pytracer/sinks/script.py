"""The outputs of scripts as bpftrace writes them: text, and JSON objects one a line."""

from __future__ import annotations

import json
import sys
from typing import TextIO

from pytracer.model import Batch, Item, Loss, Schema


class ScriptSink:
    """Writes what a script prints as it is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def open(self, _schema: Schema, /) -> None:
        """See :class:`~pytracer.sinks.Sink`."""

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if isinstance(item, Batch):
            for output in item.records:
                # How many are attached is no output of the script.
                stream = sys.stderr if output.kind == "attached_probes" else self._stream
                stream.write(output.text)
        elif isinstance(item, Loss):
            self._stream.write(f"Lost {item.lost} events: {item.meaning}\n")
        self._stream.flush()

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._stream.flush()


class ScriptJsonSink(ScriptSink):
    """Writes ``{"type": ..., "data": ...}`` for each output; a loss is ``lost_events``, with its reason."""

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if isinstance(item, Batch):
            for output in filter(lambda one: one.kind, item.records):
                self._stream.write(json.dumps({"type": output.kind, "data": output.data}) + "\n")
        elif isinstance(item, Loss):
            data = {"events": item.lost, "reason": item.reason}
            self._stream.write(json.dumps({"type": "lost_events", "data": data}) + "\n")
        self._stream.flush()
