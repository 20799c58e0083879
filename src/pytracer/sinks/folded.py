"""Folded stacks: a line a stack, ``name;outermost;...;innermost count``, for tools that draw flame graphs."""

from __future__ import annotations

from typing import TextIO

from pytracer.model import Item, Loss, Schema, Stacks
from pytracer.text import harmless

LOST = "[lost]"


class FoldedSink:
    """Stacks of the whole run by the name of the thread, whatever process it was in, the most frequent first.

    What was lost is a stack of its own: the picture shows how much is missing.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._counter = ""
        self._counts: dict[str, int] = {}

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._counter = schema.counters[0].name

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if isinstance(item, Loss):
            self._add((LOST, item.reason), item.lost)
        elif isinstance(item, Stacks) and item.kind == "summary":
            for row in item.rows():
                frames = (*row["kernel"], *row["user"])
                self._add((row["comm"], *reversed(frames)), row[self._counter])

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        for stack, count in sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0])):
            self._stream.write(f"{stack} {count}\n")
        self._counts.clear()
        self._stream.flush()

    def _add(self, frames: tuple[str, ...], count: int) -> None:
        stack = ";".join(map(folded, frames))
        self._counts[stack] = self._counts.get(stack, 0) + count


def folded(name: str) -> str:
    """A name as part of a line: what would end it, or the line, is escaped."""
    return harmless(name).replace(";", r"\x3b") or "[no name]"
