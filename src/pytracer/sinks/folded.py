"""Folded stacks for flame graph tools, one stack per line: ``name;outermost;...;innermost count``.

The names are the row's other keys: the thread's name, the event.
"""

from __future__ import annotations

from typing import TextIO

from pytracer.model import Item, Loss, Schema, Stacks
from pytracer.text import harmless

LOST = "[lost]"
NOWHERE = "[no stack]"
WOKEN = "--"
_NAMELESS = "[no name]"


class FoldedSink:
    """Stacks of the whole run by names, whatever process they were in, the most frequent first.

    What was lost is a stack of its own: the picture shows how much is missing.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._counter = ""
        self._names: list[str] = []
        self._counts: dict[str, int] = {}

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._counter = schema.counters[0].name
        self._names = [c.name for c in schema.keys if c.is_text and c.decode != "stack"]

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if isinstance(item, Loss):
            self._add((LOST, item.reason), item.lost)
        elif isinstance(item, Stacks) and item.kind == "summary":
            for row in item.value_rows():
                frames = tuple(reversed((*row["kernel"], *row.get("user", ()))))
                # Flame graphs show who woke a thread above it, upside down: the two meet where it was woken.
                waker = (*row.get("waker_kernel", ()), *row.get("waker_user", ()))
                frames += (WOKEN, *waker) if waker else ()
                names = ("-" if row[name] is None else row[name] for name in self._names)  # as in tables
                self._add((*names, *frames), row[self._counter])

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        for stack, count in sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0])):
            self._stream.write(f"{stack} {count}\n")
        self._counts.clear()
        self._stream.flush()

    def _add(self, frames: tuple[str, ...], count: int) -> None:
        stack = ";".join(map(escape_name, frames or (NOWHERE,)))
        self._counts[stack] = self._counts.get(stack, 0) + count


def escape_name(name: str) -> str:
    """Escape what would end a name, or the line. An empty name is ``[no name]``, and no other name is."""
    if name == _NAMELESS:
        return r"\x5b" + name[1:]
    return harmless(name).replace(";", r"\x3b") or _NAMELESS
