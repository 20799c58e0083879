"""The outputs of scripts as bpftrace writes them: text, and JSON objects one a line."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from pytracer.model import Batch, Item, Loss, Schema


def encode(value: Any) -> str:
    """Encode a value as bpftrace does: no blanks in arrays."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(str(name))}: {encode(one)}' for name, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(encode, value))}]"
    return json.dumps(value)


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
                # What is no output of the script goes elsewhere: how many are attached, errorf().
                stream = sys.stderr if output.kind in ("attached_probes", "error") else self._stream
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
                self._stream.write(f'{{"type": "{output.kind}", "data": {encode(output.data)}}}\n')
        elif isinstance(item, Loss):
            data = {"events": item.lost, "reason": item.reason}
            self._stream.write(json.dumps({"type": "lost_events", "data": data}) + "\n")
        self._stream.flush()
