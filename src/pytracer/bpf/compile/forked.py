"""Run work that may crash, or take long without handling signals, in a forked child.

LLVM does all of that: it may die of a damaged header, a stack that is too large ends the process, and
while it compiles for 15 s no Python handler of Ctrl-C runs. In a child its death is an error, Ctrl-C ends
it at once, and its 64 MB go with it. A cold start is no slower: it takes a seventh less CPU time, since
LLVM is not torn down.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import time
import warnings
from collections.abc import Callable, Iterator

from pytracer.bpf.compile.stderr_capture import share
from pytracer.record import record
from pytracer.signal_mask import signals_blocked

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_LOOK = 100  # ms between two calls of stop_requested
_NAP = 0.01  # seconds between two looks at a child without a pidfd
# The parent handles these; signals of faults in the child are not blocked.
_BLOCKED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGCHLD}
_libc = ctypes.CDLL(None, use_errno=True)


@record
class ChildResult:
    """The result of a child: ``data`` is the return value of the work, empty if it did not return;
    ``status`` the exit status, negative for the signal that ended it; ``stderr`` the captured standard
    error."""

    data: bytes
    status: int
    stderr: str

    @property
    def exit_reason(self) -> str:
        """The way in which the child ended, if not by returning; else ""."""
        if self.data:
            return ""
        if self.status >= 0:
            return f"ended with status {self.status}"
        with contextlib.suppress(ValueError):
            return f"died of {signal.Signals(-self.status).name}"
        return f"died of signal {-self.status}"


def run_in_child(
    work: Callable[[], bytes], *, stop_requested: Callable[[], bool] = lambda: False
) -> ChildResult:
    """Fork a child to do ``work``, and wait for it. The child is killed if this process ends.

    Raises KeyboardInterrupt once ``stop_requested`` returns True; the child is then killed.
    """
    result, stderr = os.memfd_create("result"), os.memfd_create("said")
    try:
        with signals_blocked(), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # of forking beside threads, since Python 3.12
            parent, pid = os.getpid(), os.fork()
            if not pid:
                _run_child(work, parent, result, stderr)
        status = _wait_child(pid, stop_requested)
        return ChildResult(_read_all(result), status, _read_all(stderr).decode(errors="replace"))
    finally:
        os.close(result)
        os.close(stderr)


def _run_child(work: Callable[[], bytes], parent: int, result: int, stderr: int) -> None:
    """Run the child's side, with all signals blocked at first. Does not return."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, _BLOCKED)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before prctl
            os._exit(1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        share(stderr)
        data = work()
        with open(result, "wb", closefd=False) as file:
            file.write(data)
        os._exit(0)
    finally:
        os._exit(1)


def _wait_child(pid: int, stop_requested: Callable[[], bool]) -> int:
    try:
        with _exit_waiter(pid) as wait:
            while not wait(_LOOK):
                if stop_requested():
                    raise KeyboardInterrupt
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextlib.contextmanager
def _exit_waiter(pid: int) -> Iterator[Callable[[int], bool]]:
    """Provide a function that waits so many milliseconds for a child's end, and returns whether it came."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:  # before Linux 5.3

        def look(wait: int) -> bool:
            exits = os.WEXITED | os.WNOHANG | os.WNOWAIT
            deadline = time.monotonic() + wait / 1000
            while not (ended := os.waitid(os.P_PID, pid, exits)) and time.monotonic() < deadline:
                time.sleep(_NAP)
            return ended is not None

        yield look
        return
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        yield lambda wait: bool(poll.poll(wait))
    finally:
        os.close(pidfd)


def _read_all(descriptor: int) -> bytes:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    parts, position = list[bytes](), 0
    while position < size and (part := os.pread(descriptor, size - position, position)):
        parts.append(part)
        position += len(part)
    return b"".join(parts)
