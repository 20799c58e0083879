"""The outputs of scripts as bpftrace writes them: text, and JSON objects one a line."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from pytracer.model import Batch, Item, Loss, Schema

_MESSAGES = frozenset({"attached_probes", "error", "warning", "helper_error"})
"""Kinds of output that go to standard error: the number of probes, errorf(), warnf(), and failed reads."""

_encode = json.JSONEncoder().encode


def encode(value: Any) -> str:
    """Encode a value as bpftrace does: no blanks in arrays."""
    if isinstance(value, str):
        return _encode(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(str(name))}: {encode(item)}' for name, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(encode, value))}]"
    return json.dumps(value)


def _loss_line(loss: Loss) -> str:
    if loss.reason == "map_full":
        text = f"WARNING: Map full; can't update element: {loss.lost} updates were lost"
        return f"{text}. config = {{ max_map_keys = NUMBER }} makes room\n"
    return f"Lost {loss.lost} events: {loss.meaning}\n"


class ScriptSink:
    """Writes the output of a script unchanged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def open(self, _schema: Schema, /) -> None:
        """See :class:`~pytracer.sinks.Sink`."""

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if isinstance(item, Batch):
            rows = item.records.tolist()
            kinds, texts = [kind for kind, *_ in rows], [text for *_, text in rows]
            if not _MESSAGES.isdisjoint(kinds):
                for kind, text in zip(kinds, texts, strict=True):
                    if kind in _MESSAGES:
                        sys.stderr.write(text)
                texts = [text for kind, text in zip(kinds, texts, strict=True) if kind not in _MESSAGES]
            self._stream.write("".join(texts))
        elif isinstance(item, Loss):
            self._stream.write(_loss_line(item))
        self._stream.flush()

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._stream.flush()


class ScriptJsonSink(ScriptSink):
    """Writes ``{"type": ..., "data": ...}`` for each output; a loss is ``lost_events``, with its reason."""

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if isinstance(item, Batch):
            rows = item.records.tolist()
            self._stream.write("".join(self._line(kind, data) for kind, data, _ in rows if kind))
            sys.stderr.write("".join(text for kind, _, text in rows if kind == "warning"))
        elif isinstance(item, Loss):
            data = {"events": item.lost, "reason": item.reason}
            self._stream.write(json.dumps({"type": "lost_events", "data": data}) + "\n")
        self._stream.flush()

    @staticmethod
    def _line(kind: str, data: Any) -> str:
        if kind == "warning":
            return ""
        if kind == "helper_error":  # that a read failed has no "data" of its own
            return json.dumps({"type": kind} | data) + "\n"
        count = f'"count": {data["probes"]}, ' if kind == "attached_probes" else ""
        return f'{{"type": "{kind}", {count}"data": {encode(data)}}}\n'
