"""Collect events: streams, which go on, and lists, which end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pytracer import arrays
from pytracer.bpf.attach.link import Link
from pytracer.bpf.read.maps import Map
from pytracer.bpf.read.streams import StreamReader, open_reader
from pytracer.bpf.sys import MapType
from pytracer.budget import Budget
from pytracer.errors import UsageError
from pytracer.kernel.policy import explain
from pytracer.model import Batch, Item
from pytracer.plan import Plan
from pytracer.trace.collector import RECORD, Collector, find_map

if TYPE_CHECKING:
    from pytracer.trace.decoder import ResultDecoder

_ROOMY = (
    1 << 16
)  # bytes of a ring: no value of a per-CPU map has half of them (the kernel's PCPU_MIN_UNIT_SIZE)


class StreamCollector(Collector):
    """Reads batches of events from a ring."""

    def __init__(
        self, plan: Plan, maps: Mapping[str, Map], warn: Callable[[str], None], budget: Budget
    ) -> None:
        """Open the ring, before the first record is written. See
        :func:`~pytracer.trace.collector.open_collector`."""
        self._plan, self._warn, self._budget = plan, warn, budget
        self._record = find_map(plan, maps, RECORD)
        self._decoder: ResultDecoder | None = None
        self.reader: StreamReader | None = self._open_ring(maps)

    def _open_ring(self, maps: Mapping[str, Map]) -> StreamReader | None:
        if not self._reads_few():
            arrays.load()
        ring = find_map(self._plan, maps, self._plan.schema.output.map)
        if ring.type == MapType.RINGBUF:
            self._check_room(ring.max_entries)
        try:
            return open_reader(ring, self._record, self._plan.buffer)
        except OSError as error:
            raise explain(error, "the ring of events") from error

    def _reads_few(self) -> bool:
        """Return whether the first events are few, so that NumPy can be loaded later."""
        return False

    def _check_room(self, size: int) -> None:
        """Check that a ring of ``size`` bytes has room for an event: all would be lost otherwise.

        Raises UsageError.
        """
        if size >= _ROOMY:
            return
        from pytracer.bpf.read.streams.ringbuf import shortest_record

        min_size = shortest_record(self._record.value)
        if min_size >= size:  # a ring is never filled to its last byte
            name = self._plan.request.tracer.name
            raise UsageError(
                f"an event of {name} takes {min_size} bytes and does not fit into a ring of {size}",
                hint=f"--buffer {(1 << min_size.bit_length()) // 1024 or 1}k",
            )

    @property
    def fileno(self) -> int | None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return None if self.reader is None else self.reader.fileno

    @property
    def poll_interval(self) -> float | None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return None if self.reader is None else self.reader.poll_interval

    @property
    def has_pending(self) -> bool:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return self.reader is not None and self.reader.has_pending

    @property
    def unread_bytes(self) -> int:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return 0 if self.reader is None else self.reader.unread_bytes

    @property
    def lost(self) -> int:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return 0 if self.reader is None else self.reader.lost

    @property
    def truncated(self) -> int:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return 0 if self.reader is None else self.reader.truncated

    def start(self, _links: Sequence[Link], /) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        from pytracer.trace.decoder import ResultDecoder

        self._decoder = ResultDecoder(self._plan, self._record, self._warn, self._budget)

    def batches(self) -> Iterator[Batch]:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return self._read(last=False)

    def read_interval(self, *, last: bool) -> Iterator[Item]:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return self._read(last=True) if last else iter(())

    def _read(self, *, last: bool) -> Iterator[Batch]:
        while self.reader is not None:
            records = self.reader.read(last=last)
            if records is None:
                return
            assert self._decoder is not None, "nothing is read before programs are attached"
            yield self._decoder.decode_batch(records)

    def discard(self) -> int:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return 0 if self.reader is None else self.reader.discard()

    def close(self) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.close()
        if self._decoder is not None:
            self._decoder.close()


class ListCollector(StreamCollector):
    """Reads batches from an iterator of the kernel: all existing objects, once."""

    def _open_ring(self, _maps: Mapping[str, Map], /) -> None:
        """Open nothing: there is no iterator before its program is attached."""

    def start(self, links: Sequence[Link], /) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        from pytracer.bpf.attach.iterator import open_iterator
        from pytracer.bpf.read.streams.iterator_reader import ListingReader

        [link] = links
        try:
            self.reader = ListingReader(open_iterator(link), self._record.value)
        except OSError as error:
            raise explain(error, "the list") from error
        super().start(links)
