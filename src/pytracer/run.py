"""A run of the command line: signals, a sink, and what the exit status is."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

from pytracer import inherited
from pytracer.errors import LossError
from pytracer.model import Item, Schema
from pytracer.model.items import Kind
from pytracer.plan import Facts, Request
from pytracer.sinks import Sink
from pytracer.trace import Clock, Times, Trace, Waiting


class Signals(Waiting):
    """Signals, and the end of who reads our output, among what is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._interrupts = 0
        self._ignored = inherited.ignored_by_caller(signal.SIGINT)
        # Standard output, for errors only: else a reader that has gone is noticed at the next write.
        with contextlib.suppress(OSError):
            os.fstat(1)
            self._poll.register(1, 0)

    @contextlib.contextmanager
    def handled(self) -> Iterator[Signals]:
        """Handle them for the length of the block, which ends with ``close``."""
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD]
        before = {
            number: inherited.handle(number, self._note) for number in filter(inherited.is_ours, numbers)
        }
        wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield self
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                inherited.handle(number, handler)
            self.close()

    def asked(self, *, command: bool) -> bool:
        """See :class:`~pytracer.trace.Waiting`."""
        # Ctrl-C reaches the command as well: its end is awaited, as a shell would, until asked again.
        # A command that was started with SIGINT ignored does not end from it.
        awaited = command and not self._ignored
        return self._stopped or self._interrupts > (1 if awaited else 0)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._interrupts += 1
        elif number in (signal.SIGTERM, signal.SIGHUP):
            self._stopped = True

    def _happened(self, descriptor: int, event: int) -> None:
        if descriptor != 1:
            super()._happened(descriptor, event)
        elif event & select.POLLERR:
            raise BrokenPipeError
        else:  # a terminal that was hung up would be reported for ever
            self._poll.unregister(descriptor)


def run(
    request: Request,
    facts: Callable[[], Facts],
    sink: Sink,
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    strict: bool,
) -> int:
    """Run a tracer to its end and return the exit status.

    It is the command's, where there is one, unless the run was over before the command and ended it: then 0.
    ``say`` and ``warn`` are the Session's. Raises LossError under ``strict`` where anything was lost, after
    everything was shown; BrokenPipeError where nobody reads standard output any more.
    """
    with (
        Signals().handled() as signals,
        Trace(request, facts, waiting=signals, say=say, warn=warn) as trace,
    ):
        sink.open(trace.schema)
        for item in trace:
            sink.emit(item)
        sink.close()
    if strict and trace.lost:
        raise LossError(f"{trace.lost} lost", hint="the 'lost' lines say what")
    return trace.status


def repeat(read: Callable[[Kind], Item], schema: Schema, sink: Sink, times: Times, *, summary: bool) -> None:
    """Show what ``read`` gives for each interval (a second, if not said otherwise), until it is over or a
    signal says so; and then, with ``summary``, for the whole run."""
    with Signals().handled() as signals:
        sink.open(schema)
        clock = Clock(times, 1.0, time.monotonic())
        over = False
        while not over:
            signals.wait(clock.next)
            now = time.monotonic()
            over = signals.asked(command=False) or clock.over(now)
            if clock.tick(now) or over:
                sink.emit(read("row"))
                over = over or clock.counted
        if summary:
            sink.emit(read("summary"))
        sink.close()
