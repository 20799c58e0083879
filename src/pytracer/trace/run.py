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
from pytracer.model import Batch, Item, Loss, Schema
from pytracer.model.items import Kind
from pytracer.plan import Facts, Request
from pytracer.progress import announced
from pytracer.record import replace
from pytracer.sinks import Sink
from pytracer.trace.event_loop import Waiting
from pytracer.trace.loop import Clock, Times, Trace

LEAST = 2048  # events that are shown after Ctrl-C however slow the machine is: short traces lose none
TEXT_LIMIT = 0.5  # seconds that events are still shown after Ctrl-C: a full ring of them takes many
STUCK_LIMIT = 2.0  # seconds after Ctrl-C at which a write that waits for its reader is given up
_ROWS, _BYTES = 2048, 1 << 23  # of events that are shown between two looks at the clock


class Signals(Waiting):
    """Signals, and the end of who reads our output, among what is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupts = 0
        self.on_signal: Callable[[int], None] | None = None
        self._ignored = (
            inherited.ignored_by_caller(signal.SIGINT) or signal.SIGINT in inherited.blocked_by_caller()
        )
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
        before[signal.SIGALRM] = inherited.handle(signal.SIGALRM, self._note)
        wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield self
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                inherited.handle(number, handler)
            self.close()

    def asked(self, *, command: bool) -> bool:
        """See :class:`~pytracer.trace.event_loop.Waiting`."""
        # Ctrl-C reaches the command as well: its end is awaited, as a shell would, until asked again.
        # A command that was started with SIGINT ignored or blocked does not end from it.
        awaited = command and not self._ignored
        return self._stopped or self.interrupts > (1 if awaited else 0)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self.interrupts += 1
        elif number in (signal.SIGTERM, signal.SIGHUP):
            self._stopped = True
        if self.on_signal is not None and number != signal.SIGCHLD:
            self.on_signal(number)

    def _happened(self, descriptor: int, event: int) -> None:
        if descriptor != 1:
            super()._happened(descriptor, event)
        elif event & select.POLLERR:
            raise BrokenPipeError
        else:  # a terminal that was hung up would be reported for ever
            self._poll.unregister(descriptor)


class _SkippedError(Exception):
    """Nobody waits for the rest of the output any more."""


class Emitter:
    """Shows the items of a trace, for as long as the user waits for them.

    Once asked to end, by Ctrl-C or another signal, it detaches. Events are then shown for a second; tables,
    histograms and stacks to their end. A second Ctrl-C ends both. ``unshown`` is the number of events of the
    last batch that were not shown, ``is_stuck`` is set where the sink was left in the middle of an item.
    """

    def __init__(
        self,
        trace: Trace,
        sink: Sink,
        signals: Signals,
        warn: Callable[[str], None],
        rest: contextlib.ExitStack,
    ) -> None:
        """``rest`` is left when all is shown."""
        self._trace, self._sink, self._signals, self._warn, self._rest = trace, sink, signals, warn, rest
        self._deadline: float | None = None
        self._emitted: Item | None = None  # while the sink has it
        self._resting = self._over = False  # everything is detached; nothing is shown any more
        self.unshown = 0
        self._shown = 0  # events since the end was asked for
        self.is_stuck = False
        trace.before_rest = self._before_rest
        signals.on_signal = self._on_signal

    def emit(self, item: Item) -> None:
        """Show an item. Raises what :meth:`run` handles."""
        if not isinstance(item, Batch):
            self._emit(item)
            return
        step = max(min(_ROWS, _BYTES // max(item.records.itemsize, 1)), 1)
        for first in range(0, len(item), step):
            self.unshown = len(item) - first
            if self._deadline is not None:
                self._trace.detach()
                if time.monotonic() >= self._deadline and self._shown >= LEAST:
                    raise _SkippedError
                self._shown += min(step, self.unshown)
            part = slice(first, first + step)
            self._emit(replace(item, records=item.records[part], times=item.times[part]))
        self.unshown = 0

    def run(self) -> list[Loss]:
        """Show all items. Returns losses that are to be shown yet, where it came to an end before."""
        try:
            try:
                for item in self._trace:
                    self.emit(item)
            finally:
                self._over = True
                self._rest.close()
        except _SkippedError:
            return self._trace.abandon(self.unshown)
        return []

    def _emit(self, item: Item) -> None:
        try:
            self._emitted = item
            self._sink.emit(item)
        finally:
            self._emitted = None

    def _before_rest(self) -> None:
        self._resting = True
        # Ctrl-C reaches the command, too: if it ended from that, the user wants an end.
        if self._signals.interrupts and self._trace.was_interrupted:
            self._ask()
        if self._deadline is None:
            text = "the trace has ended; what it saw last is still being written"
            self._rest.enter_context(announced(self._warn, lambda: text, once=True))

    def _ask(self) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + TEXT_LIMIT
            signal.setitimer(signal.ITIMER_REAL, STUCK_LIMIT)
            self._rest.callback(signal.setitimer, signal.ITIMER_REAL, 0)

    def _on_signal(self, number: int) -> None:
        if self._over:
            return
        if number == signal.SIGALRM:
            if self._emitted is not None:
                self._trace.detach()
                if isinstance(self._emitted, Batch):
                    self._skip()
        elif self._signals.asked(command=self._trace.has_command):
            again = self._deadline is not None
            self._ask()
            if isinstance(self._emitted, Batch):  # its sink may wait for a reader, and probes would stay
                self._trace.detach()
            if again and number == signal.SIGINT:
                self._skip()

    def _skip(self) -> None:
        """Leave the sink in the middle of an item, or the reading of the rest."""
        if self._emitted is not None or self._resting:
            self._over = True
            self.is_stuck = self._emitted is not None
            raise _SkippedError


def run(
    request: Request,
    facts: Callable[[], Facts],
    sink: Sink,
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    strict: bool,
    drop: Callable[[], None],
) -> int:
    """Run a tracer to its end and return the exit status.

    It is the command's, where there is one, unless the run was over before the command and ended it: then 0.
    ``say`` and ``warn`` are the Session's; ``drop`` makes the sink's file one that takes everything at once.
    Raises LossError under ``strict`` where anything was lost, after everything was shown; BrokenPipeError
    where nobody reads standard output any more.
    """
    with (
        Signals().handled() as signals,
        Trace(request, facts, waiting=signals, say=say, warn=warn) as trace,
        contextlib.ExitStack() as rest,
    ):
        sink.open(trace.schema)
        emitter = Emitter(trace, sink, signals, warn, rest)
        losses = emitter.run()
        if emitter.is_stuck:
            drop()
        for loss in losses:
            if emitter.is_stuck:
                warn(f"lost: {loss.lost} {loss.meaning}")
            sink.emit(loss)
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
