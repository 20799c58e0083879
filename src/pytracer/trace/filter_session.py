"""Run a plan whose faults come from a filter of system calls: no program is loaded or attached.

A filter that lets every call fail answers by itself, and nobody counts. One that notifies asks a
:class:`~pytracer.trace.fault_supervisor.FaultSupervisor`, which decides and counts.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytracer import arrays, budget
from pytracer.bpf.attach.link import Link
from pytracer.kernel import syscall_filter, syscalls
from pytracer.kernel.policy import missing_capabilities
from pytracer.model import Item, Loss
from pytracer.model.items import Kind
from pytracer.model.loss import REASONS
from pytracer.plan import Plan
from pytracer.request import Confinement, Request, number_of
from pytracer.request.faults import ERRNO
from pytracer.spec import SyscallFilter
from pytracer.spec.call_faults import UNCOUNTED
from pytracer.trace.collector import Collector, ResultSource
from pytracer.trace.fault_supervisor import FaultPlan, FaultSupervisor, SupervisorReport
from pytracer.trace.launch import LaunchedCommand

if TYPE_CHECKING:
    from pytracer.trace.decoder import ResultDecoder

_INTERVAL = 1.0  # seconds between reads of rows: the supervisor keeps few
_NAME_SIZE = 16  # of a thread, with its end
_FOREVER = float("inf")
_Counts = dict[tuple[int, bytes], list[int]]


class FilterSession(ResultSource):
    """A command under a filter, from its release on. ``started`` is the time at which that was made ready.

    ``links`` are empty, like those of a :class:`~pytracer.trace.session.Session` without programs.
    """

    links: Sequence[Link] = ()

    def __init__(self, plan: Plan, command: LaunchedCommand, warn: Callable[[str], None]) -> None:
        """Make the filter, and hand it to the command. Raises UsageError, UnsupportedError."""
        probe, fault = plan.syscall_filter, plan.request.fault
        assert probe is not None
        assert fault is not None
        self._plan, self._command, self.warn = plan, command, warn
        self._supervisor: FaultSupervisor | None = None
        self._error = ERRNO[fault.error]
        self._is_stopped = False
        for warning in plan.hooks.warnings:
            warn(warning)
        self._counter = _CallCounter(plan, self)
        self.collector: Collector = self._counter
        confinement = confine(plan.request, probe)
        command.confine(confinement, self._supervise if probe.notifies else None)
        self.started = time.monotonic()

    @property
    def first_row(self) -> tuple[int, bytes, int, int] | None:
        """The row of a command whose calls nobody counts; None if they are counted."""
        probe = self._plan.syscall_filter
        if probe is None or probe.notifies:
            return None
        name = os.fsencode(PurePath(self._command.name).name)[: _NAME_SIZE - 1]
        return self._command.pid, name, UNCOUNTED, UNCOUNTED

    def fetch(self) -> SupervisorReport | None:
        """Return what was answered since the last time; None if that is not known."""
        return None if self._supervisor is None else self._ask(self._supervisor.read)

    def poll(self) -> None:
        """See :class:`~pytracer.trace.collector.ResultSource`."""
        self.collector.poll()

    def losses(self) -> Iterator[Loss]:
        """See :class:`~pytracer.trace.collector.ResultSource`."""
        lost, self._counter.unplaced = self._counter.unplaced, 0
        if lost:
            yield Loss("map_full", lost, REASONS["map_full"], time.time())

    def detach(self) -> None:
        """Let all calls continue from now on, as far as a filter asks."""
        if self._supervisor is None or self._is_stopped:
            return
        self._is_stopped = True
        report = self._ask(self._supervisor.stop)
        if report is None:
            return
        self._counter.add(report)
        if not report.is_over and self._command.poll() is not None:
            self.warn("descendants of the command still run: their calls take longer to their end")

    def close(self) -> None:
        """Stop, and leave the supervisor to what still runs under the filter."""
        self.detach()
        if self._supervisor is not None:
            self._supervisor.close()
            self._supervisor = None
        self.collector.close()

    def _supervise(self, listener: int) -> None:
        """Start the supervisor of a listener."""
        request, machine = self._plan.request, os.uname().machine
        probe = self._plan.syscall_filter
        assert probe is not None
        fault_plan = FaultPlan(
            number=syscalls.number_of(machine, probe.call) or 0,
            error=self._error,
            every=number_of("every", request),
            percent=number_of("probability", request),
            times=number_of("times", request),
            deadline=time.monotonic() + request.duration if request.duration else _FOREVER,
            execve=syscalls.number_of(machine, "execve") or 0,
            command=self._command.pid,
            max_rows=self._plan.rows,
        )
        try:
            self._supervisor = FaultSupervisor(listener, fault_plan)
        finally:
            os.close(listener)

    def _ask(self, request: Callable[[], SupervisorReport]) -> SupervisorReport | None:
        try:
            return request()
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            self.warn("the process that answers calls was killed: they fail with ENOSYS from then on")
            self._supervisor, self._is_stopped = None, True
            return None


class _CallCounter(Collector):
    """Adds up the rows of a supervisor."""

    def __init__(self, plan: Plan, session: FilterSession) -> None:
        self._plan, self._session = plan, session
        self._interval: _Counts = {}
        self._total: _Counts = {}
        self.unplaced = 0
        self._started = self._read_at = self._fetched = time.monotonic()
        self._decoder: ResultDecoder | None = None

    @property
    def poll_interval(self) -> float | None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return _INTERVAL if self._session.first_row is None else None

    def start(self, _links: Sequence[Link], /) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return

    def close(self) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        if self._decoder is not None:
            self._decoder.close()

    def add(self, report: SupervisorReport) -> None:
        """Add what a supervisor has answered."""
        self.unplaced += report.lost
        for pid, name, *counts in report.rows:
            for table in (self._interval, self._total):
                row = table.setdefault((pid, name), [0, 0])
                row[:] = (before + new for before, new in zip(row, counts, strict=True))

    def drain_rows(self) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        now = time.monotonic()
        if now - self._fetched >= _INTERVAL / 2:
            self._fetch()

    def read_interval(self, *, last: bool) -> Iterator[Item]:  # noqa: ARG002 - nothing is detached
        """See :class:`~pytracer.trace.collector.Collector`."""
        self._fetch()
        now = time.monotonic()
        counts, self._interval = self._interval, {}
        seconds, self._read_at = now - self._read_at, now
        yield self._decode(counts, "row", seconds)

    def read_summary(self) -> Iterator[Item]:
        """See :class:`~pytracer.trace.collector.Collector`."""
        self._fetch()
        yield self._decode(self._total, "summary", time.monotonic() - self._started)

    def _fetch(self) -> None:
        self._fetched = time.monotonic()
        report = self._session.fetch()
        if report is not None:
            self.add(report)

    def _decode(self, counts: _Counts, kind: Kind, seconds: float) -> Item:
        from pytracer.arrays import np
        from pytracer.model.reduce import Rows
        from pytracer.trace.decoder import ResultDecoder, RowLayout

        arrays.load()
        keys_type = np.dtype([("pid", "u4"), ("comm", "u1", (_NAME_SIZE,))])
        values_type = np.dtype([("calls", "u8"), ("failed", "u8")])
        if self._decoder is None:
            layout = RowLayout(keys_type, values_type)
            self._decoder = ResultDecoder(self._plan, layout, self._session.warn, budget.current())
        first = self._session.first_row
        counted = [(pid, name, calls, failed) for (pid, name), (calls, failed) in counts.items()]
        rows = counted if first is None else [first]
        keys, values = np.zeros(len(rows), keys_type), np.zeros(len(rows), values_type)
        for index, (pid, name, calls, failed) in enumerate(rows):
            keys[index] = pid, list(name[: _NAME_SIZE - 1].ljust(_NAME_SIZE, b"\0"))
            values[index] = calls, failed
        return self._decoder.decode_rows(Rows(keys, values), kind, seconds)


def confine(request: Request, probe: SyscallFilter) -> Confinement:
    """Make the filter by which a call fails. Raises UsageError, BuildError, UnsupportedError.

    Calls by other ABIs of the machine pass: their numbers are others.
    """
    from pytracer.seccomp.filter_program import build
    from pytracer.seccomp.oci_profile import Rule, SeccompProfileRules

    assert request.fault is not None
    machine = os.uname().machine
    action = syscall_filter.ERRNO | ERRNO[request.fault.error]
    flags, rules = 0, list[Rule]()
    if probe.notifies:
        action, flags = syscall_filter.USER_NOTIFICATION, syscall_filter.NEW_LISTENER
        if syscall_filter.has_flags(flags | syscall_filter.WAIT_KILLABLE):
            flags |= syscall_filter.WAIT_KILLABLE
        rules.append(Rule("execve", action))  # the command must not execute before its listener is taken
    if not (probe.notifies and probe.call == "execve"):
        rules.append(Rule(probe.call, action, request.fault.conditions))
    program = build(
        SeccompProfileRules(syscall_filter.ALLOW, (machine,), tuple(rules), other_abis=syscall_filter.ALLOW)
    )
    return Confinement(program, flags, no_new_privs=bool(missing_capabilities(("CAP_SYS_ADMIN",))))
