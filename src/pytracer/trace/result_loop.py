"""The loop of every run: wait, read what is due, until there is a reason to stop.

:class:`~pytracer.trace.loop.Trace` runs it over a session, ``pytracer prog`` over the statistics of all
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
    wake_at: Callable[[], float | None] = lambda: None,
    buffer: int = 0,
    nap: float = NAP,
) -> Iterator[Item]:
    """Yield results as they come.

    Args:
        source: what to read.
        clock: when results are due, and when the run is over.
        events: what wakes the loop up before.
        should_stop: returns True to end the run.
        end: detaches what is attached; called once, before the last results are read.
        wake_at: returns a time at which ``should_stop`` has to be called; None: whenever it wakes up.
        buffer: the size of the ring in bytes, if there is one.
        nap: seconds that a stream is left alone after it gave something.
    """
    collector = source.collector
    full, napping = False, False
    much = min(buffer // 8, _MUCH)
    while True:
        ready = _wait(collector, events, (0 if full else clock.next, wake_at()), nap if napping else None)
        source.poll()
        now = time.monotonic()
        stop = should_stop() or clock.is_over(now)
        # What is readable and gives nothing (a record that is still being written) is left alone, too.
        full, napping, read = False, ready, 0
        for batch in () if stop else collector.batches():
            yield batch
            napping = True
            read += batch.records.nbytes
            if batch.records.nbytes < much and not collector.has_pending:
                break
            # In a flood there is always more, and whoever shows it may be slow.
            if full := should_stop() or clock.is_due(time.monotonic()):
                break
        stop = stop or collector.is_finished
        full = full or read > buffer // 8  # the ring would be full before long
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


def _wait(
    collector: Collector, events: EventLoop, moments: tuple[float | None, ...], nap: float | None
) -> bool:
    """Wait until the first of ``moments``, or until something may be read, but for the length of a ``nap``.
    Returns True if a stream is readable."""
    napping = nap is not None
    interval = nap if napping else collector.poll_interval
    if interval is not None:
        moments += (time.monotonic() + interval,)
    until = min((moment for moment in moments if moment is not None), default=None)
    return events.wait(until, None if napping else collector.fileno)
