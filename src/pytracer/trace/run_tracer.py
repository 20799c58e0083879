"""Run a tracer for the command line: signals, a sink, and the exit code.

See "The end of a trace" in docs/internals.md.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Protocol

from pytracer import inherited
from pytracer.errors import LossError
from pytracer.model import Batch, Item, Loss
from pytracer.plan import KernelInfo, Plan
from pytracer.progress import ProgressStep, step
from pytracer.record import replace
from pytracer.request import Request
from pytracer.sinks import Sink
from pytracer.trace.event_loop import EventLoop
from pytracer.trace.loop import TraceLoop

LEAST = 2048  # events that are shown after Ctrl-C however slow the machine is: short traces lose none
TEXT_LIMIT = 0.5  # seconds that events are still shown after Ctrl-C: a full ring of them takes many
STUCK_LIMIT = 0.6  # seconds after Ctrl-C at which a write of events that waits for its reader is given up
_AGAIN = 0.1  # seconds between looks at whether a write waits, from then on
_SOON = 0.005  # seconds until a write is left: it has returned how much was taken, and waits again
_ROWS, _BYTES = 2048, 1 << 23  # of events that are shown between two looks at the clock
_MIB = 1 << 20


class Signals(EventLoop):
    """An event loop that also waits for signals, and for the reader of standard output to close it."""

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
        """Install signal handlers for the length of the block, and close the loop at its end."""
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD]
        previous_handlers = {
            number: inherited.handle(number, self._note) for number in filter(inherited.is_ours, numbers)
        }
        previous_handlers[signal.SIGALRM] = inherited.handle(signal.SIGALRM, self._note)
        wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield self
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.set_wakeup_fd(wakeup)
            for number, handler in previous_handlers.items():
                inherited.handle(number, handler)
            self.close()

    def stop_requested(self, *, command: bool) -> bool:
        """See :class:`~pytracer.trace.event_loop.EventLoop`."""
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

    def _handle(self, descriptor: int, event: int) -> None:
        if descriptor != 1:
            super()._handle(descriptor, event)
        elif event & select.POLLERR:
            raise BrokenPipeError
        else:  # a terminal that was hung up would be reported for ever
            self._poll.unregister(descriptor)


class _SkippedError(Exception):
    """The user does not wait for the rest of the output any more."""


class SinkFile(Protocol):
    """The file that a sink writes to."""

    @property
    def lines(self) -> int:
        """The number of whole lines written to the file."""
        ...

    @property
    def is_terminal(self) -> bool:
        """True if the file is a terminal, where a line about progress would stand among the output."""
        ...

    def is_full(self) -> bool:
        """Return True while a write would block."""
        ...

    def drop(self) -> None:
        """Drop everything that the file does not accept, from now on."""
        ...


class Emitter:
    """Shows the items of a trace, for as long as the user waits for them.

    Once asked to end, by Ctrl-C or another signal, it detaches. Events are then shown for half a second, and
    their write is given up where nobody reads it; tables, histograms and stacks are shown to their end. A
    second Ctrl-C ends both.
    """

    def __init__(
        self, trace: TraceLoop, sink: Sink, output: SinkFile, signals: Signals, warn: Callable[[str], None]
    ) -> None:
        """Write to a sink; ``warn`` gets the losses that the output did not accept."""
        self._trace, self._sink, self._output = trace, sink, output
        self._signals, self._warn = signals, warn
        self._rest = contextlib.ExitStack()  # the report on the last results: left when all is shown
        self._rest_step = ProgressStep()
        self._rest_bytes = 0  # in the rings when everything was detached
        self._deadline: float | None = None
        self._emitted: Item | None = None  # the item that the sink has now
        self._writing = False  # the sink writes
        self._resting = False  # everything is detached, and items are still to come
        self._ignores_signals = False  # signals change nothing
        self._leaving = False  # the sink is left at the next alarm
        self._unshown = 0  # events of the last batch that were not shown, if nothing more is written
        self._lines = 0  # that the output had taken before the sink began to write
        self._shown = 0  # events since the end was asked for
        trace.before_rest = self._before_rest
        signals.on_signal = self._on_signal

    def run(self) -> None:
        """Show all items; and the losses, on standard error if the output is stuck."""
        losses = list[Loss]()
        if self._signals.stop_requested(command=self._trace.has_command):  # while the trace was opened
            self._ask()
        try:
            with self._rest:
                try:
                    self._write(lambda: self._sink.open(self._trace.schema))
                    for item in self._trace:
                        self._emit(item)
                finally:
                    self._ignores_signals = True
        except _SkippedError:
            if self._writing and self._unshown:  # an event is a line in each format
                self._unshown = max(self._unshown - self._output.lines + self._lines, 0)
            losses = self._trace.discard_rest(self._unshown)
            if isinstance(self._emitted, Loss):
                losses.insert(0, self._emitted)
            if self._writing:
                self._give_up(losses)
        self._writing = self._resting = self._ignores_signals = self._leaving = False
        self._finish(losses)

    def _finish(self, losses: list[Loss]) -> None:
        """Show losses, and flush the sink."""
        shown_count = 0
        try:
            for loss in losses:
                self._write(lambda loss=loss: self._sink.emit(loss))  # type: ignore[misc]
                shown_count += 1
            self._write(self._sink.close)
        except _SkippedError:
            self._ignores_signals = True
            self._give_up(losses[shown_count:])
            self._sink.close()

    def _give_up(self, losses: list[Loss]) -> None:
        """Drop the rest of the output, which the file does not accept, and report the losses on standard
        error."""
        self._output.drop()
        for loss in losses:
            self._warn(f"lost: {loss.lost} {loss.meaning}")

    def _emit(self, item: Item) -> None:
        """Show an item. Raises the errors that :meth:`run` handles."""
        self._emitted = item
        if not isinstance(item, Batch):
            self._write(lambda: self._sink.emit(item))
            return
        count = max(min(_ROWS, _BYTES // max(item.records.itemsize, 1)), 1)
        for first in range(0, len(item), count):
            self._unshown = len(item) - first
            if self._deadline is not None:
                self._trace.detach()
                if time.monotonic() >= self._deadline and self._shown >= LEAST:
                    raise _SkippedError
                self._shown += min(count, self._unshown)
            rows = slice(first, first + count)
            part = replace(item, records=item.records[rows], times=item.times[rows])
            self._write(lambda part=part: self._sink.emit(part))  # type: ignore[misc]
        self._unshown = 0
        if self._resting:
            self._rest_step.done = (self._rest_bytes - self._trace.unread_bytes) // _MIB

    def _write(self, write: Callable[[], None]) -> None:
        """Call the sink. Where _SkippedError leaves it, ``_writing`` stays True."""
        self._lines = self._output.lines
        self._writing = True
        if self._output.is_terminal:
            self._rest.close()
        write()
        self._writing = False

    def _before_rest(self) -> None:
        self._resting = True
        # Ctrl-C reaches the command, too: if it ended from that, the user wants an end.
        if self._signals.interrupts and self._trace.was_interrupted:
            self._ask()
        self._rest_bytes = self._trace.unread_bytes
        self._rest_step = self._rest.enter_context(
            step("writing the last results", self._rest_bytes // _MIB, "MiB")
        )

    def _ask(self) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + TEXT_LIMIT
            signal.setitimer(signal.ITIMER_REAL, STUCK_LIMIT, _AGAIN)

    def _on_signal(self, number: int) -> None:
        if self._ignores_signals:
            return
        if number == signal.SIGALRM:
            if self._writing:
                self._trace.detach()
                if self._leaving or (self._trace.schema.is_stream and self._output.is_full()):
                    self._skip()
        elif self._signals.stop_requested(command=self._trace.has_command):
            is_repeated = self._deadline is not None
            self._ask()
            if self._writing and self._trace.schema.is_stream:
                self._trace.detach()  # the write may wait for a reader, and probes would stay
            if is_repeated and number == signal.SIGINT:
                self._skip()

    def _skip(self) -> None:
        """Leave the sink in the middle of an item, or stop reading the rest, by an exception."""
        if self._writing and not self._leaving:
            # The signal interrupts write(2), which returns how much was taken before; an exception here would
            # throw that number away. The next signal finds a write that has taken nothing yet.
            self._leaving = True
            signal.setitimer(signal.ITIMER_REAL, _SOON, _AGAIN)
        elif self._writing or self._resting:
            self._ignores_signals = True
            raise _SkippedError


def run(
    request: Request,
    facts: Callable[[], KernelInfo],
    sink: Sink,
    *,
    log: Callable[[str], None],
    warn: Callable[[str], None],
    is_strict: bool,
    output: SinkFile,
    ready: Callable[[Plan], None] = lambda _: None,
) -> int:
    """Run a tracer to its end and return the exit status.

    It is the command's, where there is one, unless the run was over before the command and ended it: then 0.
    ``log`` and ``warn`` are the Session's; ``output`` is the sink's file; ``ready`` is called once all is
    attached.
    Raises LossError under ``is_strict`` where anything was lost or the audit differs, after everything was
    shown; BrokenPipeError where nobody reads standard output any more.
    """
    with (
        Signals().handled() as signals,
        TraceLoop(request, facts, events=signals, log=log, warn=warn) as trace,
    ):
        ready(trace.plan)
        Emitter(trace, sink, output, signals, warn).run()
    if is_strict and trace.lost:
        raise LossError(f"{trace.lost} lost", hint="the 'lost' lines show the reasons")
    if is_strict and trace.difference:
        raise LossError(f"the kernel counted {abs(trace.difference)} more or fewer", hint="the 'audit' line")
    return trace.status
