"""Wait for several things at once: a stream, exiting processes, a time, and a request to stop."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterable


class EventLoop:
    """Waits for a stream, exiting processes, a time, and a request to stop."""

    def __init__(self) -> None:
        self._stopped = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._lock = threading.RLock()  # of the pipe's end: once closed, its number may be another file's
        self._processes: set[int] = set()  # pidfds of those that are traced and live
        self._child = -1  # the command's
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

    def watch_exit(self, processes: Iterable[int]) -> bool:
        """Wake up when any of these processes exits. Returns False if the kernel has no pidfd (before Linux
        5.3)."""
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

    def watch_command(self, child: int) -> bool:
        """Wake up when the command exits. Returns False if the kernel has no pidfd (before Linux 5.3)."""
        try:
            self._child = os.pidfd_open(child)
        except OSError:
            return False
        self._poll.register(self._child, select.POLLIN)
        return True

    @property
    def all_exited(self) -> bool:
        """True once every watched process has exited."""
        return not self._processes

    def wait(self, deadline: float | None, stream: int | None = None) -> bool:
        """Wait until the monotonic clock reads ``deadline``, ``stream`` is readable, or another event.
        Returns True if ``stream`` is readable."""
        ready = False
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
