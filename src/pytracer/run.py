"""A run from beginning to end: when to read, when to stop, and what the exit status is."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

from pytracer.errors import LossError, UnsupportedError
from pytracer.kernel.policy import TRACING, in_initial_namespace, require
from pytracer.launch import Launched
from pytracer.plan import Facts, Request, make_plan
from pytracer.session import Session
from pytracer.sinks import Sink
from pytracer.spec import Filter, SocketFilter

_INTERVAL = 1.0  # seconds, where nothing was said


class _Signals:
    """Signals as something that can be waited for together with a clock."""

    def __init__(self) -> None:
        self.interrupts = 0
        self.terminated = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._processes: set[int] = set()  # pidfds of those that are traced and live
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)
        # Standard output, for errors only: else a reader that has gone is noticed at the next write.
        with contextlib.suppress(OSError):
            os.fstat(1)
            self._poll.register(1, 0)

    @contextlib.contextmanager
    def handled(self) -> Iterator[_Signals]:
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD]
        # Who ignores a signal for us (nohup, a shell's background) means it.
        numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._note) for number in numbers}
        wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield self
        finally:
            while self._processes:
                os.close(self._processes.pop())
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._read)
            os.close(self._write)

    @property
    def asked(self) -> bool:
        """Whether somebody asked for the end."""
        return self.terminated or self.interrupts > 0

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self.interrupts += 1
        elif number in (signal.SIGTERM, signal.SIGHUP):
            self.terminated = True

    def mourn(self, processes: Iterable[int]) -> bool:
        """Take note of the ends of these processes; False where that cannot be (before Linux 5.3)."""
        for process in processes:
            try:
                pidfd = os.pidfd_open(process)
            except ProcessLookupError:
                continue
            except OSError:
                return False
            self._processes.add(pidfd)
            self._poll.register(pidfd, select.POLLIN)
        return True

    @property
    def mourned(self) -> bool:
        """Whether none of them lives."""
        return not self._processes

    def wait(self, until: float | None) -> None:
        """Until a signal arrives or the monotonic clock reads ``until``.

        Raises BrokenPipeError where nobody reads standard output any more.
        """
        timeout = None if until is None else max(until - time.monotonic(), 0) * 1000
        for descriptor, event in self._poll.poll(timeout):
            if descriptor == self._read:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._read, 4096)
            elif descriptor in self._processes:
                self._poll.unregister(descriptor)
                self._processes.remove(descriptor)
                os.close(descriptor)
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
    everything was shown.
    """
    _check_permissions(request)
    _check_process_ids(request)
    with _Signals().handled() as signals:
        command = Launched(request.command) if request.command else None
        try:
            plan = make_plan(request, facts())
            pending = command.pid if command else 0
            with Session(plan, pending=pending, say=say, warn=warn) as session:
                sink.open(plan.schema)
                if command:
                    command.release()
                say("tracing")
                lost = _loop(request, session, sink, signals, command)
            sink.close()
            over = command is not None and command.poll() is None and not signals.asked
        finally:
            if command:
                command.terminate()
    if strict and lost:
        raise LossError(f"{lost} lost", hint="the 'lost' lines say what")
    return 0 if command is None or over else command.status or 0


def _loop(request: Request, session: Session, sink: Sink, signals: _Signals, command: Launched | None) -> int:
    """Read every interval until there is a reason to stop; then the summary. Returns how much was lost."""
    begun = time.monotonic()
    end = None if request.duration is None else begun + request.duration
    interval = request.interval if request.interval or command else _INTERVAL
    ticks, shown, lost = 0, 0, 0
    traced = [int.from_bytes(key, sys.byteorder) for key in request.filters.get(Filter.PID, ())]
    mourning = bool(traced) and signals.mourn(traced)
    while True:
        tick = None if interval is None else begun + (ticks + 1) * interval
        signals.wait(min((moment for moment in (tick, end) if moment is not None), default=None))
        now = time.monotonic()
        stop = (
            signals.terminated or _interrupted(signals, command) or (command and command.poll() is not None)
        )
        stop = stop or (end is not None and now >= end) or (mourning and signals.mourned)
        if not stop and (tick is None or now < tick):
            continue
        if interval is not None:  # after a pause (SIGSTOP, suspend) one row stands for all that were missed
            ticks = max(ticks + 1, int((now - begun) / interval))
        shown += 1
        stop = stop or (request.count is not None and shown >= request.count) or not session.watch()
        if stop:
            session.detach()
        if interval is not None:
            sink.emit(session.read("row"))
        for loss in session.losses():
            sink.emit(loss)
            lost += loss.lost
        if stop:
            sink.emit(session.read("summary"))
            return lost


def _interrupted(signals: _Signals, command: Launched | None) -> bool:
    # Ctrl-C reaches the command as well: its end is awaited, as a shell would, until asked again.
    return signals.interrupts > (1 if command else 0)


def _check_permissions(request: Request) -> None:
    """NotPermittedError, naming what is missing, before anything is started."""
    probes = [p for hook in request.tracer.hooks for way in hook.alternatives for p in way.probes]
    network = all(isinstance(probe, SocketFilter) for probe in probes)
    require(["CAP_NET_RAW", "CAP_BPF"] if network else TRACING, f"pytracer {request.tracer.name}")


def _check_process_ids(request: Request) -> None:
    """UnsupportedError where process ids that are compared in the kernel are not the ones seen here."""
    named = bool(request.command) or Filter.PID in request.filters or Filter.TID in request.filters
    if named and in_initial_namespace("pid") is False:
        raise UnsupportedError(
            "this is a PID namespace of its own: the kernel knows its processes by other numbers",
            hint="run it in the host's (docker run --pid=host), or filter by --cgroup, --mntns or --comm",
        )
