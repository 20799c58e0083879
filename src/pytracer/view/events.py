"""The view of a stream: a log of events, which keeps the newest."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from pytracer.arrays import Array, np
from pytracer.model import Batch, Histograms, Schema, Snapshot
from pytracer.record import replace
from pytracer.sinks.formatting import cells
from pytracer.spec import Column
from pytracer.view.base import View
from pytracer.view.select import ranks, take

LIMIT = 64 << 20  # bytes of records that are kept


class _Chunk:
    """A batch, and which of its events pass the filter (None: all)."""

    __slots__ = ("batch", "rows")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.rows: Array | None = None

    def __len__(self) -> int:
        return len(self.batch) if self.rows is None else len(self.rows)

    def part(self, first: int, last: int) -> Batch:
        return take(self.batch, slice(first, last) if self.rows is None else self.rows[first:last])


class EventsView(View):
    """The events of a run in the order in which they came, or, while it is paused, in another one.

    Events are kept as the records of the C; of those alone that are shown, columns are decoded.
    """

    def __init__(self, schema: Schema, limit: int = LIMIT) -> None:
        """See :class:`~pytracer.view.base.View`; ``limit`` is in bytes."""
        super().__init__(schema)
        self._limit = limit
        self._chunks: deque[_Chunk] = deque()
        self._bytes = self._count = 0
        self._paused: list[_Chunk] | None = None  # what is shown while it is paused
        self._order: Array | None = None  # of those, in another order than that in which they came
        self._measured = 0
        self.dropped = 0  # events that are not kept any more

    def _keep(self, item: Batch | Snapshot | Histograms) -> None:
        assert isinstance(item, Batch), "a stream has events"
        if not len(item):
            return
        chunk = _Chunk(item)
        if self.filter:
            chunk.rows = np.nonzero(self.filter.mask(item))[0]
        self._chunks.append(chunk)
        self._bytes += item.records.nbytes
        self._count += len(chunk)
        while self._bytes > self._limit and len(self._chunks) > 1:
            old = self._chunks.popleft()
            self._bytes -= old.batch.records.nbytes
            self._count -= len(old)
            self.dropped += len(old.batch)

    def measure(self, seconds: float) -> None:
        """See :class:`~pytracer.view.base.View`: events a second."""
        self.rates.append((self.seen - self._measured) / max(seconds, 1e-9))
        self._measured = self.seen

    @property
    def paused(self) -> bool:
        """See :class:`~pytracer.view.base.View`."""
        return self._paused is not None

    def pause(self) -> None:
        """See :class:`~pytracer.view.base.View`."""
        with self._lock:
            if self._paused is None:
                self._paused = list(self._chunks)
                self.revision += 1

    def resume(self) -> None:
        """See :class:`~pytracer.view.base.View`; the order is again that in which events came."""
        with self._lock:
            self._paused = self._order = None
            self.sort = ""
            self._filter_all(self._chunks)
            self.revision += 1

    def step(self, count: int) -> None:  # noqa: ARG002 - a log has one place, and is scrolled in
        """See :class:`~pytracer.view.base.View`."""
        self.pause()

    def sort_by(self, name: str, *, descending: bool | None = None) -> None:
        """See :class:`~pytracer.view.base.View`. A running log has no order, so this pauses it."""
        with self._lock:
            if name:
                self.pause()
            super().sort_by(name, descending=descending)

    def _changed(self) -> None:
        self._filter_all(self._chunks)
        self._order = None
        if self._paused is not None:
            self._filter_all(self._paused)
            if self.sort:
                everything = self._everything()
                sort_ranks = ranks(everything.column(self.sort)) if everything is not None else np.zeros(0)
                order = np.argsort(sort_ranks, kind="stable")
                self._order = order[::-1] if self.descending else order
        super()._changed()

    def _filter_all(self, chunks: Sequence[_Chunk] | deque[_Chunk]) -> None:
        for chunk in chunks:
            chunk.rows = np.nonzero(self.filter.mask(chunk.batch))[0] if self.filter else None
        self._count = sum(map(len, self._chunks))

    def _shown_chunks(self) -> Sequence[_Chunk] | deque[_Chunk]:
        return self._chunks if self._paused is None else self._paused

    def __len__(self) -> int:
        with self._lock:
            return self._count if self._paused is None else sum(map(len, self._paused))

    def title(self) -> str:
        """See :class:`~pytracer.view.base.View`."""
        text = f"{self.seen} {'entries' if self.schema.is_listing else 'events'}"
        if self.dropped:
            text += f", of which the first {self.dropped} are not kept"
        return text

    def _parts(self, first: int, count: int) -> Iterator[Batch]:
        """Yield the events from ``first`` on, in the order in which they are shown."""
        if self._order is not None:
            everything = self._everything()
            if everything is not None:
                yield take(everything, self._order[first : first + count])
            return
        last = first + count
        chunks = self._shown_chunks()
        end = len(self)
        parts = list[Batch]()
        for chunk in reversed(chunks):  # what is looked at is mostly at the end
            begin = end - len(chunk)
            if begin < last and end > first:
                parts.append(chunk.part(max(first - begin, 0), min(last - begin, len(chunk))))
            if begin <= first:
                break
            end = begin
        yield from reversed(parts)

    def _everything(self) -> Batch | None:
        """Return all events that pass the filter."""
        parts = [chunk.part(0, len(chunk)) for chunk in self._shown_chunks() if len(chunk)]
        if not parts:
            return None
        types = {part.records.dtype for part in parts}
        if len(types) > 1:  # records that end with a string have as much room as the longest needs
            widest = max(types, key=lambda candidate: candidate.itemsize)
            parts = [replace(part, records=part.records.astype(widest)) for part in parts]
        records = np.concatenate([part.records for part in parts])
        return replace(parts[0], records=records, times=np.concatenate([part.times for part in parts]))

    def rows(self, first: int, count: int) -> list[dict[str, Any]]:
        """See :class:`~pytracer.view.base.View`."""
        with self._lock:
            return [
                {"time": moment, **row}
                for part in self._parts(first, count)
                for moment, row in zip(part.times.tolist(), part.value_rows(), strict=True)
            ]

    def cells(self, first: int, count: int, columns: Sequence[Column]) -> list[list[str]]:
        """See :class:`~pytracer.view.base.View`."""
        with self._lock:
            lines = list[list[str]]()
            for part in self._parts(first, count):
                texts = [
                    [_format_clock(moment) for moment in part.times.tolist()]
                    if column is TIME
                    else cells(part.column(column.name), column)
                    for column in columns
                ]
                lines += [list(line) for line in zip(*texts, strict=True)]
            return lines

    def shown(self) -> Batch | Snapshot | Histograms | None:
        """See :class:`~pytracer.view.base.View`."""
        with self._lock:
            everything = self._everything()
            if everything is None or self._order is None:
                return everything
            return take(everything, self._order)


TIME = Column("time", "when it happened", width=12)
"""The column of the time of an event, which every stream has."""


def _format_clock(nanoseconds: int) -> str:
    seconds, remainder = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{remainder // 1_000_000:03}"
