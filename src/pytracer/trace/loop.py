"""A trace from beginning to end: yields results as they come, until there is a reason to stop.

The command line and the Python API both iterate over a :class:`TraceLoop`.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytracer import progress, startup
from pytracer.bpf.cache import type_answers
from pytracer.bpf.prober import finish_closing
from pytracer.errors import UnsupportedError
from pytracer.kernel import hidden
from pytracer.model import Item, Loss, Schema, Statement, Totals
from pytracer.model.loss import MISSED, UNSHOWN, UNSHOWN_MEANING
from pytracer.plan import KernelInfo, Plan, make_plan
from pytracer.plan.initial_entries import FOLLOWED, RunFacts
from pytracer.request import Confinement, Request
from pytracer.trace.clock import Clock
from pytracer.trace.event_loop import EventLoop
from pytracer.trace.permissions import check_request
from pytracer.trace.result_loop import NAP, results
from pytracer.trace.session import Session, discard_line

if TYPE_CHECKING:
    from pytracer.trace.audit import Auditor
    from pytracer.trace.filter_session import FilterSession
    from pytracer.trace.launch import LaunchedCommand

_INTERVAL = 1.0  # seconds, where nothing was said
_CUT_SHORT = "the list may be cut short: it was over before all was listed"

_Self = TypeVar("_Self", bound="TraceLoop")


class TraceLoop:
    """An open trace, to be iterated once; a context manager. Leaving it detaches everything.

    ``schema`` describes what it yields: for streams :class:`~pytracer.model.Batch`, else Snapshot,
    StackSnapshot or Histograms, a ``row`` for each interval and a ``summary``; :class:`~pytracer.model.Loss`
    whenever something was lost; and at the end :class:`~pytracer.model.Totals`, if the tracer has any, and
    the :class:`~pytracer.model.AuditResult`, if requested. ``lost`` is how much was lost so far,
    ``difference`` that of the audit. Once closed, ``status`` is the command's exit status; 0 where there is
    none, or the trace was over before it. ``before_rest`` is called when everything is detached and the rest
    is about to be yielded.
    """

    def __init__(
        self,
        request: Request,
        facts: Callable[[], KernelInfo],
        *,
        events: EventLoop | None = None,
        log: Callable[[str], None] | None = None,
        warn: Callable[[str], None] | None = None,
        output: tuple[int | None, int | None] = (None, None),
        keep_rows: bool = False,
        poll_pause: float = NAP,
    ) -> None:
        """Build, load, attach, and fork the command. Raises the errors listed in :mod:`pytracer.errors`."""
        check_request(request)
        self.lost = self.difference = 0
        self.status = 0
        self._request = request
        self._log = log or discard_line
        self._warn = warn or discard_line
        self._own = events is None
        self._events = events or EventLoop()
        self._poll_pause = poll_pause
        self._command: LaunchedCommand | None = None
        self._session: Session | FilterSession | None = None
        self._begun = self._closed = False
        self._follows_all = request.wait_all
        self._auditor = _open_auditor(request)
        self._ends_with_traced = False  # it ends with the last of the processes that the request names
        self.before_rest: Callable[[], None] = lambda: None
        try:
            if request.command:
                from pytracer.trace.launch import LaunchedCommand

                confinements = (v for v in request.options.values() if isinstance(v, Confinement))
                self._command = LaunchedCommand(
                    request.command, next(confinements, None), stdout=output[0], stderr=output[1]
                )
            with progress.step("finding what to attach to"):
                kernel = facts()
                self.plan: Plan = make_plan(request, kernel)
            for line in hidden.warnings(request.tracer):
                self._warn(line)
            self._session = self._open_session(keep_rows=keep_rows)
            self._read_counter()
            kernel.close_meanwhile()
        except BaseException:
            self.close()
            raise
        type_answers.keep()
        startup.resume()

    def _open_session(self, *, keep_rows: bool) -> Session | FilterSession:
        if self.plan.syscall_filter is not None:
            from pytracer.trace.filter_session import FilterSession

            assert self._command is not None
            return FilterSession(self.plan, self._command, self._warn)
        return Session(
            self.plan,
            # The process of a program that uses the library is not pytracer's own.
            run=RunFacts(self._command.pid if self._command else 0, is_own=not self._own),
            stop_requested=lambda: self._events.stop_requested(command=False),
            before_attach=self._read_counter,
            log=self._log,
            warn=self._warn,
            keep_rows=keep_rows,
        )

    @property
    def schema(self) -> Schema:
        """The columns of the yielded items."""
        return self.plan.schema

    @property
    def session(self) -> Session:
        """The programs and maps behind the trace, until it is closed. Raises UnsupportedError if there are
        none."""
        if not isinstance(self._session, Session):
            raise UnsupportedError("no program runs here: the command has a filter of system calls")
        return self._session

    def stop(self) -> None:
        """End the iteration soon, after the results that are left; may be called from another thread."""
        self._events.stop()

    @property
    def has_command(self) -> bool:
        """True while a command runs, as of the last check. Safe in a signal handler."""
        return self._command is not None and self._command.status is None

    @property
    def unread_bytes(self) -> int:
        """The bytes of events that are still in the rings."""
        return 0 if self._session is None else self._session.collector.unread_bytes

    @property
    def was_interrupted(self) -> bool:
        """True if Ctrl-C killed the command."""
        return self._command is not None and self._command.status == 128 + signal.SIGINT

    def detach(self) -> None:
        """Detach everything now; the results that are left can still be iterated over."""
        if self._session is not None:
            self._read_counter()
            self._session.detach()
            self._read_counter()

    def discard_rest(self, unshown: int) -> list[Loss]:
        """Detach, drop results that were not yielded, and return the losses that were not yielded either.

        ``unshown`` of the events that were yielded were not shown.
        """
        if self._session is None:
            return []
        self.detach()
        if self.schema.is_listing:
            self._warn(_CUT_SHORT)
        else:
            unshown += self._session.collector.discard()
        if self._auditor:
            self._warn("no audit: the output was cut short")
        losses = list(self._session.losses())
        if unshown:
            losses.append(Loss(UNSHOWN, unshown, UNSHOWN_MEANING, time.time()))
        self.lost += sum(loss.lost for loss in losses)
        return losses

    def close(self) -> None:
        """Detach, and end the command if it still runs. Do not call it while another thread waits for an
        item: call ``stop`` there."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._session is not None:
                self._session.close()
        finally:
            finish_closing()
            if self._command is not None:
                stopped_early = self._command.poll() is None and not self._events.stop_requested(
                    command=False
                )
                self._command.terminate()
                self.status = 0 if stopped_early else self._command.status or 0
                self._command = None
            if self._session is not None:
                self.status = self._session.collector.exit_code or self.status
            if self._own:
                self._events.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Item]:
        """Yield all results, until the command or the traced processes have ended, the time is over, or the
        end is requested. Raises RuntimeError if it is iterated twice, or closed."""
        if self._begun or self._closed or self._session is None:
            raise RuntimeError("a trace is iterated once, and before it is closed")
        self._begun = True
        return self._run(self._session)

    def _run(self, session: Session | FilterSession) -> Iterator[Item]:
        self._follows_all = self._follows_all or self.schema.is_profile  # which is to lack nothing
        if self._command:
            self._events.watch_command(self._command.pid)
            self._command.release()
        self._log("tracing")
        has_results = False
        for item in self._collect(session):
            if isinstance(item, Loss):
                self.lost += item.lost
                has_results = has_results or item.reason != MISSED  # what an event lost was seen
            elif isinstance(item, Totals):
                has_results = has_results or any(item.counts.values())
            elif not isinstance(item, Statement):
                has_results = has_results or len(item) > 0
            if self._auditor:
                self._auditor.add(item)
            yield item
        if self._auditor:
            result = self._auditor.result()
            self.difference = result.difference
            yield result
        if not has_results and (self.plan.files or self._request.follows):
            from pytracer.trace import unseen

            for line in unseen.reasons(self.plan, self._traced()):
                self._warn(line)

    def _read_counter(self) -> None:
        if self._auditor:
            self._auditor.read()

    def _collect(self, session: Session | FilterSession) -> Iterator[Item]:
        if self.schema.is_listing:
            return self._list_items(self.session)
        is_whole_run = bool(self._command) or self.schema.is_stacks  # what is shown when nothing was said
        interval = None if is_whole_run and not self.schema.is_stream else _INTERVAL
        traced = self._request.processes
        self._ends_with_traced = bool(traced)
        self._events.watch_exit(traced)
        return results(
            session,
            Clock(self._request, interval, session.started),
            self._events,
            should_stop=self._should_stop,
            end=self._end,
            buffer=self.plan.buffer,
            poll_pause=self._poll_pause,
        )

    def _end(self) -> None:
        """Detach, with the warnings that are due before that."""
        self._warn_of_descendants()
        self.detach()
        self.before_rest()
        if self.schema.is_profile and self._command and self._command.poll() is None:
            self._warn("the command was still running: what it calls later is not in the profile")

    def _list_items(self, session: Session) -> Iterator[Item]:
        """Yield the whole list, unless the time is over or the end is requested before."""
        clock = Clock(self._request, None, session.started)
        for batch in session.collector.batches():
            yield batch
            if self._should_stop() or clock.is_over(time.monotonic()):
                self._warn(_CUT_SHORT)
                break
        session.detach()
        yield from session.losses()

    def _should_stop(self) -> bool:
        """Return whether the command or all traced processes have ended, or the end was requested."""
        if self._ends_with_traced and self._events.all_exited:
            # What they left behind is traced with --children.
            return not (self._request.roots and self._await_descendants())
        runs = self._command is not None and self._command.poll() is None
        if self._events.stop_requested(command=runs):
            return True
        if self._command is None or runs:
            return False
        return not self._follows_all or not self._await_descendants()

    def _traced(self) -> list[int]:
        """Return the processes that are traced and still run, as far as their ids are known."""
        if not self._request.follows:
            return list(self._request.processes)
        runs = self._command is not None and self._command.poll() is None
        return [self._command.pid, *self._descendants()] if self._command and runs else self._descendants()

    def _descendants(self) -> list[int]:
        """Return the descendants of the command that still run."""
        if not isinstance(self._session, Session):
            return []
        family = self._session.loaded.module.maps.get(FOLLOWED)
        if family is None or family.is_empty:
            return []
        keys, _ = family.read()
        return [pid for pid in keys.tolist() if _is_process(pid)]

    def _await_descendants(self) -> bool:
        """Wake up when the running descendants have ended. Returns False once none is left."""
        if self._events.all_exited:
            descendants = self._descendants()
            self._events.watch_exit(descendants)
            return bool(descendants)
        return True

    def _warn_of_descendants(self) -> None:
        """Warn about descendants of an ended command that still run and are not followed any more."""
        if self._command is None or not self._request.follows_command or self._command.poll() is None:
            return
        if number := len(self._descendants()):
            verb = "runs" if number == 1 else "run"
            hint = "" if self._follows_all else ": --wait-all follows them to their end"
            self._warn(f"{self._command.name} has ended, {number} of its descendants still {verb}{hint}")


def _open_auditor(request: Request) -> Auditor | None:
    """Return what compares the results with the kernel's own counts, if requested."""
    if not request.audit:
        return None
    from pytracer.trace.audit import Auditor

    return Auditor(request)


def _is_process(pid: int) -> bool:
    """Return True for a running process: the map of followed processes may hold threads and zombies, too."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_bytes()
        return b"\nTgid:\t%d\n" % pid in status and b"\nState:\tZ" not in status
    return False
