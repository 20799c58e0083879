"""Starting the command of ``-- COMMAND`` so that it can be traced from its first instruction on.

The command is forked before anything else happens (so that it stays in the machine's own mount
namespace), waits at a pipe until the probes are attached, and only then executes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import struct
import time
from collections.abc import Sequence

from pytracer.errors import PytracerError, UsageError

_PATIENCE = 3.0  # seconds between asking the command to end and ending it
_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)  # by us, unless they were ignored
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)  # by Python, from its start


class Launched:
    """A forked process that is about to become the command."""

    def __init__(self, argv: Sequence[str]) -> None:
        """Fork. Raises UsageError where there is no such command."""
        path = shutil.which(argv[0])
        if path is None:
            raise UsageError(f"no command {argv[0]!r}", hint="it is looked for in PATH; scripts need mode +x")
        self.name = argv[0]
        self.status: int | None = None
        gate_out, self._gate = os.pipe()
        self._failure, failure_in = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _become(path, argv, gate_out, self._gate, failure_in)
        os.close(gate_out)
        os.close(failure_in)

    def release(self) -> None:
        """Let it execute. Raises PytracerError where the kernel will not execute it."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._gate, b"g")
        os.close(self._gate)
        self._gate = -1
        said = os.read(self._failure, 4)
        os.close(self._failure)
        self._failure = -1
        if said:
            os.waitpid(self.pid, 0)
            self.status = 127
            raise PytracerError(f"cannot execute {self.name!r}: {os.strerror(struct.unpack('i', said)[0])}")

    def poll(self) -> int | None:
        """Its exit status once it has ended (128 + N where signal N ended it), else None."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code
        return self.status

    def terminate(self) -> None:
        """Ask it to end, wait, and where it will not, end it."""
        if self._gate >= 0:  # still at the pipe: its end tells it to leave
            os.close(self._gate)
            os.close(self._failure)
            self._gate = self._failure = -1
        elif self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        while self.poll() is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.005)


def _become(path: str, argv: Sequence[str], gate: int, other_end: int, failure: int) -> None:
    """The child's side: wait, then execute. Does not return."""
    try:
        os.close(other_end)
        for number in (*_HANDLED, *_IGNORED):
            # What the caller had ignored (nohup) stays ignored.
            if number in _IGNORED or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        if os.read(gate, 1) == b"g":
            os.execve(path, list(argv), os.environ)
    except OSError as error:
        os.write(failure, struct.pack("i", error.errno or 0))
    finally:
        os._exit(127)
