"""Stacks of a whole run with their counters, as all formats for stacks write them."""

from __future__ import annotations

from enum import Enum
from typing import TextIO

from pytracer.model import Item, Loss, Schema, StackSnapshot

LOST = "[lost]"
NOWHERE = "[no stack]"
WOKEN = "--"


class Part(Enum):
    """The part of a stack that a frame belongs to."""

    NAME = "name"  # what distinguishes rows: the thread's name, the event
    USER = "user"
    KERNEL = "kernel"
    WAKER = "waker"  # the line between who was woken and who woke it
    LOST = "lost"


Frame = tuple[str, Part]
Stack = tuple[Frame, ...]
"""The outermost frame first."""


class StackSamples:
    """Adds up the counters of stacks that look the same, whatever process they were in.

    Losses are a stack of their own, so that every picture shows how much is missing: its first counter.
    """

    def __init__(self, schema: Schema) -> None:
        """Start without samples."""
        self.counters = schema.counters
        self.labels = tuple(c.name for c in schema.keys if c.is_text and c.decode != "stack")
        columns = (column.name.rpartition("_") for column in schema.keys if column.decode == "stack")
        self._wakers = tuple(waker for waker, _, part in columns if waker and part == "kernel")
        self.seconds = 0.0
        self.time = 0.0
        self._counts: dict[Stack, list[int]] = {}

    def add(self, item: Item) -> None:
        """Add the summary of a run, or a loss; other items are ignored."""
        if isinstance(item, Loss):
            self._add(
                ((LOST, Part.LOST), (item.reason, Part.LOST)), [item.lost, *[0] * (len(self.counters) - 1)]
            )
        elif isinstance(item, StackSnapshot) and item.kind == "summary":
            self.seconds, self.time = item.seconds, item.time
            for row in item.value_rows():
                frames = [(name, Part.KERNEL) for name in row["kernel"]]
                frames += [(name, Part.USER) for name in row.get("user", ())]
                frames.reverse()
                # Flame graphs show who woke a thread above it, upside down: the two meet where it was woken.
                for waker in self._wakers:
                    woken = [(name, Part.KERNEL) for name in row[f"{waker}_kernel"]]
                    woken += [(name, Part.USER) for name in row.get(f"{waker}_user", ())]
                    frames += [(WOKEN, Part.WAKER), *woken] if woken else []
                names = ("-" if row[name] is None else row[name] for name in self.labels)  # as in tables
                stack = (*((name, Part.NAME) for name in names), *frames)
                self._add(stack or ((NOWHERE, Part.NAME),), [row[c.name] for c in self.counters])

    def ranked(self) -> list[tuple[Stack, list[int]]]:
        """Return the stacks, the largest first counter first."""
        return sorted(self._counts.items(), key=lambda pair: -pair[1][0])

    def _add(self, stack: Stack, counts: list[int]) -> None:
        totals = self._counts.setdefault(stack, [0] * len(counts))
        for index, count in enumerate(counts):
            totals[index] += count


class StackSink:
    """Base of the sinks that write the stacks of a whole run at its end."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._open: tuple[Schema, StackSamples] | None = None

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._open = schema, StackSamples(schema)

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        assert self._open is not None
        self._open[1].add(item)

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        if self._open is not None:
            self.write(*self._open)
        self._open = None
        self.stream.flush()

    def write(self, schema: Schema, samples: StackSamples) -> None:
        """Write the stacks of a run."""
        raise NotImplementedError
