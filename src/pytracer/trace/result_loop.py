"""The loop of every run: wait, read the maps and rings that are due, until there is a reason to stop.

:class:`~pytracer.trace.loop.TraceLoop` runs it over a session, ``pytracer prog`` over the statistics of all
programs (:mod:`pytracer.trace.program_watch`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from pytracer.model import Item
from pytracer.trace.clock import Clock
from pytracer.trace.collector import Collector, ResultSource
from pytracer.trace.event_loop import EventLoop

NAP = 0.01  # seconds that a stream is left alone after it gave something: a flood costs few wake-ups
_MUCH = 1 << 17  # bytes: who gives batches of so many may have more


def results(
    source: ResultSource,
    clock: Clock,
    events: EventLoop,
    *,
    should_stop: Callable[[], bool],
    end: Callable[[], None],
    buffer: int = 0,
    poll_pause: float = NAP,
) -> Iterator[Item]:
    """Yield results as they come.

    Args:
        source: what to read.
        clock: when results are due, and when the run is over.
        events: what wakes the loop up before.
        should_stop: returns True to end the run.
        end: detaches what is attached; called once, before the last results are read.
        buffer: the size of the ring in bytes, if there is one.
        poll_pause: seconds that a stream is left alone after it gave something.
    """
    collector = source.collector
    full, napping = False, False
    flush_size = min(buffer // 8, _MUCH)
    while True:
        ready = _wait(collector, events, 0 if full else clock.next, poll_pause if napping else None)
        source.poll()
        now = time.monotonic()
        stop = should_stop() or clock.is_over(now)
        # What is readable and gives nothing (a record that is still being written) is left alone, too.
        full, napping, read_bytes = False, ready, 0
        for batch in () if stop else collector.batches():
            yield batch
            napping = True
            read_bytes += batch.records.nbytes
            if batch.records.nbytes < flush_size and not collector.has_pending:
                break
            # In a flood there is always more, and whoever shows it may be slow.
            if full := should_stop() or clock.is_due(time.monotonic()):
                break
        stop = stop or collector.is_finished
        full = full or read_bytes > buffer // 8  # the ring would be full before long
        if not stop and not clock.tick(now):
            collector.drain_rows()
            continue
        stop = stop or clock.is_complete or not source.check_links()
        if stop:
            end()
        if clock.interval is not None:
            yield from source.read_interval(last=stop)
        yield from source.losses()
        if stop:
            yield from source.read_summary()
            return


def _wait(collector: Collector, events: EventLoop, deadline: float | None, poll_pause: float | None) -> bool:
    """Wait until ``deadline``, or until something may be read, but for the length of a ``poll_pause``.
    Returns True if a stream is readable."""
    napping = poll_pause is not None
    interval = poll_pause if napping else collector.poll_interval
    if interval is not None:
        latest = time.monotonic() + interval
        deadline = latest if deadline is None else min(deadline, latest)
    return events.wait(deadline, None if napping else collector.fileno)
