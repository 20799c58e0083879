"""Events on a timeline: Chrome's trace event format, which Perfetto's viewer (https://ui.perfetto.dev) reads.

It is a list of objects, one a line: ``X`` is a slice with a begin and a duration, ``i`` an instant, ``M`` the
name of a thread. Times are microseconds, here with three decimals: nanoseconds.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

from pytracer.model import Batch, Item, Loss, Schema
from pytracer.sinks.json import records
from pytracer.spec import Unit

_NO_NAMES = ("comm", "err", "flags", "error", "returned", "result")
_THREADS_MAX = 10_000  # whose names are written


class TimelineSink:
    """Writes events by thread. An event with a time, such as a latency, is a slice that ends when it
    happened; other events are instants."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tracer = ""
        self._span = self._name = ""  # columns: the length of a slice, what it is called
        self._threads: dict[tuple[int, int], str] = {}
        self._begun = False

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._tracer = schema.tracer
        # The last time ends with the event: of a request to a disk the driver's, behind that in the queue.
        times = [column.name for column in schema.columns if column.unit is Unit.NANOSECONDS]
        names = [column.name for column in schema.columns if column.is_text and column.name not in _NO_NAMES]
        self._span, self._name = times[-1] if times else "", names[0] if names else ""
        self._stream.write("[\n")

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        for time, record in records(item, "") if isinstance(item, (Batch, Loss)) else ():
            if isinstance(item, Loss):
                name = f"lost: {item.lost} {item.meaning}"
                self._write({"name": name, "ph": "i", "s": "g", "pid": 0, "tid": 0}, time)
            else:
                self._write_event(time, record)
        self._stream.flush()

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        for (pid, tid), comm in self._threads.items():
            self._write({"name": "thread_name", "ph": "M", "pid": pid, "tid": tid, "args": {"name": comm}})
        self._stream.write("\n]\n")
        self._stream.flush()

    def _write_event(self, time: int, record: dict[str, Any]) -> None:
        del record["kind"]
        pid = record.get("pid") or record.get("tid") or 0
        tid = record.get("tid") or pid
        if record.get("comm") and len(self._threads) < _THREADS_MAX:
            self._threads[pid, tid] = record["comm"]
        name = str(record.get(self._name) or self._tracer)
        event = {"name": name, "cat": self._tracer, "pid": pid, "tid": tid}
        span = record.get(self._span)
        if span is None:
            self._write(event | {"ph": "i", "s": "t", "args": record}, time)
        else:
            self._write(event | {"ph": "X", "args": record}, time - span, span)

    def _write(self, event: dict[str, Any], time: int | None = None, span: int | None = None) -> None:
        text = json.dumps(event)[:-1]
        text += "" if time is None else f', "ts": {_microseconds(time)}'
        text += "" if span is None else f', "dur": {_microseconds(span)}'
        self._stream.write((",\n" if self._begun else "") + text + "}")
        self._begun = True


def _microseconds(nanoseconds: int) -> str:
    """Write a time exactly: a float would round it."""
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03}"
