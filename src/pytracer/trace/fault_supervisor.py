"""Answer the system calls that a filter leaves to its supervisor: some fail, the others continue.

The supervisor is a process of its own, so that calls of the command do not wait until results are printed. It
outlives pytracer: once nobody has the listener, calls that the filter leaves to it fail with ENOSYS. Without
pytracer it lets all continue, until the last process under the filter has ended.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import json
import os
import random
import select
import socket
import time
from pathlib import Path

from pytracer.kernel import syscall_filter
from pytracer.kernel.syscall_filter import WaitingCall
from pytracer.record import record
from pytracer.signal_mask import signals_blocked

_READ, _STOP = b"r", b"s"
_CHUNK = 1 << 16
_NAMED_FOR = 1.0  # seconds that a thread's name is kept: reading it takes longer than the rest of an answer


@record
class FaultPlan:
    """The calls that fail: of the call ``number`` one of ``every``, of these ``percent`` %, at most ``times``
    (0: no limit), until ``deadline`` of the monotonic clock; and the ``error``. ``execve`` is that call's
    number, ``command`` the process whose first one executes the command. ``max_rows`` are kept between two
    reads: beyond, no call fails."""

    number: int
    error: int
    every: int
    percent: int
    times: int
    deadline: float
    execve: int
    command: int
    max_rows: int


@record
class SupervisorReport:
    """The calls that were answered since the last report: (process, name, calls, failed), and those without a
    row.
    ``is_over``: no process is under the filter any more."""

    rows: tuple[tuple[int, bytes, int, int], ...]
    lost: int
    is_over: bool


class FaultSupervisor:
    """A running supervisor."""

    def __init__(self, listener: int, plan: FaultPlan) -> None:
        """Fork it; it owns a duplicate of ``listener``. Its parent is init, so nobody has to wait for it."""
        self._control, remote = socket.socketpair()
        with signals_blocked():
            child = os.fork()
            if child == 0:
                _start(listener, remote.fileno(), plan)
        remote.close()
        with contextlib.suppress(ChildProcessError):  # the program that uses us ignores SIGCHLD
            os.waitpid(child, 0)

    def read(self) -> SupervisorReport:
        """Return what was answered since the last time. Raises OSError if the supervisor is gone."""
        return self._request(_READ)

    def stop(self) -> SupervisorReport:
        """Let all calls continue from now on, and return the rest."""
        return self._request(_STOP)

    def close(self) -> None:
        """Leave the supervisor alone: it ends with the last process under the filter."""
        self._control.close()

    def _request(self, what: bytes) -> SupervisorReport:
        self._control.sendall(what)
        data = bytearray()
        while not data.endswith(b"\n"):
            part = self._control.recv(_CHUNK)
            if not part:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            data += part
        rows, lost, is_over = json.loads(data)
        named = ((pid, name.encode("latin-1"), calls, failed) for pid, name, calls, failed in rows)
        return SupervisorReport(tuple(named), lost, is_over)


def _start(listener: int, control: int, plan: FaultPlan) -> None:
    """Run the supervisor in a grandchild. Does not return. All signals stay blocked in it."""
    try:
        if os.fork():
            os._exit(0)
        gc.disable()  # what it would close are numbers of other files by then
        os.setsid()
        _keep_descriptors(listener, control)
        with contextlib.suppress(OSError):  # to be killed last where memory is short
            Path("/proc/self/oom_score_adj").write_text("-1000", "ascii")
        _Supervisor(plan).run()
    finally:
        os._exit(0)


_LISTENER, _CONTROL = 3, 4


def _keep_descriptors(listener: int, control: int) -> None:
    """Close all descriptors but two: others wait for the end of files that they share with us."""
    nothing = os.open(os.devnull, os.O_RDWR)
    places = ((0, nothing), (1, nothing), (2, nothing), (_LISTENER, listener), (_CONTROL, control))
    copies = [(number, fcntl.fcntl(fd, fcntl.F_DUPFD, _CONTROL + 1)) for number, fd in places]
    for number, copy in copies:
        os.dup2(copy, number)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers
        if int(name) > _CONTROL:
            with contextlib.suppress(OSError):  # the folder's own
                os.close(int(name))


class _Supervisor:
    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._rows = dict[tuple[int, bytes], list[int]]()
        self._lost = self._calls = self._failed = 0
        self._names = dict[int, tuple[float, int, bytes]]()  # by thread: until when, its process and name
        self._has_executed = self._is_stopped = False
        self._has_listener = self._has_control = True
        self._output = b""
        self._poll = select.poll()
        self._poll.register(_LISTENER, select.POLLIN)
        self._poll.register(_CONTROL, select.POLLIN)
        os.set_blocking(_CONTROL, False)  # a parent that does not read must not stop the command

    def run(self) -> None:
        """Answer calls until no process is under the filter, and requests until pytracer has ended."""
        while self._has_listener or self._has_control:
            for descriptor, event in self._poll.poll():
                if descriptor == _CONTROL:
                    self._serve()
                elif event & select.POLLIN:
                    self._answer_next()
                else:  # POLLHUP (Linux 5.9, 99cdb8b9a573)
                    self._poll.unregister(_LISTENER)
                    os.close(_LISTENER)
                    self._has_listener = False

    def _answer_next(self) -> None:
        call = syscall_filter.receive(_LISTENER)
        if call is None:
            return
        self._is_stopped = self._is_stopped or time.monotonic() >= self._plan.deadline
        if call.number == self._plan.execve:
            self._names.pop(call.thread, None)  # it gets another name, and may get the id of its process
        if not self._has_executed and call.thread == self._plan.command:
            self._has_executed = call.number == self._plan.execve
            syscall_filter.answer(_LISTENER, call)
        elif call.number != self._plan.number or self._is_stopped:
            syscall_filter.answer(_LISTENER, call)
        else:
            try:
                self._decide(call)
            except Exception:  # such as no memory: nothing may end this
                syscall_filter.answer(_LISTENER, call)

    def _decide(self, call: WaitingCall) -> None:
        """Answer a call that may fail, and count it if it still waits for that."""
        row = self._row(call.thread)
        if row is None:
            self._lost += syscall_filter.answer(_LISTENER, call)
            return
        is_failing = self._is_turn()
        if syscall_filter.answer(_LISTENER, call, self._plan.error if is_failing else 0):
            self._calls += 1
            self._failed += is_failing
            row[0] += 1
            row[1] += is_failing

    def _is_turn(self) -> bool:
        plan = self._plan
        if (self._calls + 1) % plan.every:
            return False
        if random.randrange(100) >= plan.percent:
            return False
        return not plan.times or self._failed < plan.times

    def _row(self, thread: int) -> list[int] | None:
        now = time.monotonic()
        until, pid, name = self._names.get(thread, (0.0, 0, b""))
        if now >= until:
            if len(self._names) >= self._plan.max_rows:
                self._names.clear()
            pid, name = _identify(thread)
            self._names[thread] = now + _NAMED_FOR, pid, name
        row = self._rows.get((pid, name))
        if row is None and len(self._rows) < self._plan.max_rows:
            row = self._rows[pid, name] = [0, 0]
        return row

    def _serve(self) -> None:
        """Read requests, and write as much of the reports as fits."""
        with contextlib.suppress(BlockingIOError):
            try:
                request = os.read(_CONTROL, 16)
            except ConnectionResetError:
                request = b""
            if not request:
                self._poll.unregister(_CONTROL)
                os.close(_CONTROL)
                self._has_control, self._is_stopped = False, True
                return
            for what in request:
                self._is_stopped = self._is_stopped or what == _STOP[0]
                self._output += self._report()
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self._output = self._output[os.write(_CONTROL, self._output) :]
        self._poll.modify(_CONTROL, select.POLLIN | (select.POLLOUT if self._output else 0))

    def _report(self) -> bytes:
        rows = [(pid, name.decode("latin-1"), *counts) for (pid, name), counts in self._rows.items()]
        report = json.dumps((rows, self._lost, not self._has_listener)).encode() + b"\n"
        self._rows.clear()
        self._lost = 0
        return report


def _identify(thread: int) -> tuple[int, bytes]:
    """Return a thread's process and its name; it waits for an answer, so that it has both."""
    folder = Path(f"/proc/{thread}")
    try:
        name = (folder / "comm").read_bytes()[:-1]
        _, _, text = (folder / "status").read_bytes().partition(b"\nTgid:\t")
        return int(text.split(b"\n", 1)[0]), name
    except (OSError, ValueError):  # it was killed meanwhile; or /proc hides it
        return thread, b""
