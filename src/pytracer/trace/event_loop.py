"""Wait for several things at once: a stream, exiting processes, a time, and a request to stop."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterable

from pytracer.procfs import has_ended, living, read_stat

_POLLED = 0.05  # seconds between two looks at processes without a pidfd
_START_TIME = 19  # of read_stat's fields


class EventLoop:
    """Waits for a stream, exiting processes, a time, and a request to stop."""

    def __init__(self) -> None:
        self._stopped = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._lock = threading.RLock()  # of the pipe's end: once closed, its number may be another file's
        self._processes: set[int] = set()  # pidfds of those that are traced and live
        self._child = -1  # the command's
        self._polled = dict[int, bytes]()  # those without a pidfd (before Linux 5.3), and when they began
        self._polls_command = False
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)

    def stop(self) -> None:
        """Request the end; may be called from any thread or signal handler."""
        self._stopped = True
        with self._lock, contextlib.suppress(BlockingIOError):  # full: it will wake up in any case
            if self._write >= 0:
                os.write(self._write, b"s")

    def stop_requested(self, *, command: bool) -> bool:  # noqa: ARG002 - see run.Signals
        """Return whether the end was requested. ``command``: a command runs, which gets Ctrl-C as well."""
        return self._stopped

    def watch_exit(self, processes: Iterable[int]) -> None:
        """Wake up when any of these processes exits; a little later if the kernel has no pidfd (before Linux
        5.3)."""
        for process in processes:
            try:
                pidfd = os.pidfd_open(process)
            except ProcessLookupError:
                continue
            except OSError:
                with contextlib.suppress(OSError):
                    self._polled[process] = read_stat(process)[_START_TIME]
                continue
            self._processes.add(pidfd)
            self._poll.register(pidfd, select.POLLIN)

    def watch_command(self, child: int) -> None:
        """Wake up when the command exits; without pidfd, often enough to look for that."""
        try:
            self._child = os.pidfd_open(child)
        except OSError:
            self._polls_command = True
        else:
            self._poll.register(self._child, select.POLLIN)

    @property
    def all_exited(self) -> bool:
        """True once every watched process has exited."""
        for process, start_time in list(self._polled.items()):
            if _is_gone(process, start_time):
                del self._polled[process]
        return not self._processes and not self._polled

    def wait(self, deadline: float | None, stream: int | None = None) -> bool:
        """Wait until the monotonic clock reads ``deadline``, ``stream`` is readable, or another event.
        Returns True if ``stream`` is readable."""
        ready = False
        if self._polled or self._polls_command:
            latest = time.monotonic() + _POLLED
            deadline = latest if deadline is None else min(deadline, latest)
        timeout = None if deadline is None else max(deadline - time.monotonic(), 0) * 1000
        if stream is not None:
            self._poll.register(stream, select.POLLIN)
        try:
            for descriptor, event in self._poll.poll(timeout):
                if descriptor == stream:
                    ready = True
                else:
                    self._handle(descriptor, event)
        finally:
            if stream is not None:
                self._poll.unregister(stream)
        return ready

    def _handle(self, descriptor: int, event: int) -> None:  # noqa: ARG002 - see run.Signals
        if descriptor == self._read:
            with contextlib.suppress(BlockingIOError):
                os.read(self._read, 4096)
        elif descriptor in self._processes or descriptor == self._child:
            self._poll.unregister(descriptor)
            self._processes.discard(descriptor)
            if descriptor == self._child:
                self._child = -1
            os.close(descriptor)

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in (*self._processes, self._child):
            if descriptor >= 0:
                os.close(descriptor)
        self._processes.clear()
        self._child = -1
        with self._lock:
            write, self._write = self._write, -1
            os.close(write)
        os.close(self._read)


def _is_gone(process: int, start_time: bytes) -> bool:
    """Return whether a process has ended; it has, too, if its number is that of another by now."""
    try:
        return has_ended(living(process)) or read_stat(process)[_START_TIME] != start_time
    except OSError:
        return True
