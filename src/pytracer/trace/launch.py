"""Start the command of ``-- COMMAND`` so that it can be traced from its first instruction on.

The command is forked before anything else happens (so that it stays in the machine's own mount
namespace), waits at a pipe until the probes are attached, and only then executes; under a filter of
system calls, where there is one.

See "A command and its descendants" in docs/internals.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import select
import signal
import struct
import time
from collections.abc import Callable, Sequence

from pytracer import inherited
from pytracer.errors import NotPermittedError, PytracerError, UnsupportedError, UsageError
from pytracer.kernel import syscall_filter
from pytracer.request import Confinement
from pytracer.signal_mask import signals_blocked

_PATIENCE = 3.0  # seconds between asking the command to end and ending it
_CANNOT_CONFINE = 1 << 16  # added to an errno: the filter could not be installed
_RELEASE = struct.Struct("=II?")  # the size of the filter's program, its flags, no_new_privs
_RESULT = struct.Struct("=i")  # an errno, or below 0 the listener: -1 - its number
_HINTS = {errno.EBUSY: "a filter that we run under asks a process already, which one of them can"}
_INSTALLING = 1  # ms between looks at whether the command has installed its filter


class LaunchedCommand:
    """A forked process that is about to execute the command."""

    def __init__(
        self,
        argv: Sequence[str],
        confinement: Confinement | None = None,
        *,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> None:
        """Fork. Raises UsageError if there is no such command.

        ``stdout`` and ``stderr`` are descriptors for the command to write to; None: this process's own.

        ``confinement`` holds from the ``execve`` on, which itself passes it, and for all descendants; none of
        them gains privileges by executing (no_new_privs).
        """
        import shutil

        path = shutil.which(argv[0])
        if path is None:
            raise UsageError(f"no command {argv[0]!r}", hint="it is looked for in PATH; scripts need mode +x")
        self.name = argv[0]
        self.status: int | None = None
        self._confinement = confinement
        self._on_listener: Callable[[int], None] | None = None
        gate_out, self._gate = os.pipe()
        self._failure, failure_in = os.pipe()
        with signals_blocked() as mask:
            self.pid = os.fork()
            if self.pid == 0:
                _restore_or_exit()
                mask |= inherited.blocked_by_caller()
        if self.pid == 0:
            _redirect_or_exit(stdout, stderr)
            _run_child(path, argv, gate_out, self._gate, failure_in)
        os.close(gate_out)
        os.close(failure_in)

    def confine(self, confinement: Confinement, on_listener: Callable[[int], None] | None = None) -> None:
        """Put the command under a filter when it is released. If that has a listener, ``on_listener`` gets
        and owns it, and must see to it that calls which wait are answered: the ``execve`` is the first."""
        self._confinement, self._on_listener = confinement, on_listener

    def release(self) -> None:
        """Release the command to execute its program. Raises PytracerError if the kernel cannot execute it,
        UnsupportedError if the kernel does not accept the filter, NotPermittedError if its listener cannot be
        taken."""
        confinement = self._confinement or Confinement(b"")
        settings = _RELEASE.pack(len(confinement.program), confinement.flags, confinement.no_new_privs)
        with contextlib.suppress(BrokenPipeError):
            os.write(self._gate, settings + confinement.program)
        os.close(self._gate)
        self._gate = -1
        data = os.read(self._failure, _RESULT.size)
        if data and (result := _RESULT.unpack(data)[0]) < 0:
            self._take_listener(-1 - result)
            data = os.read(self._failure, _RESULT.size)
        os.close(self._failure)
        self._failure = -1
        if data:
            with contextlib.suppress(ChildProcessError):  # as in poll
                os.waitpid(self.pid, 0)
            self.status = 127
            (number,) = _RESULT.unpack(data)
            if number & _CANNOT_CONFINE:
                number &= ~_CANNOT_CONFINE
                raise UnsupportedError(
                    f"the kernel takes no filter of system calls: {os.strerror(number)}",
                    hint=_HINTS.get(number, "CONFIG_SECCOMP_FILTER"),
                )
            raise PytracerError(f"cannot execute {self.name!r}: {os.strerror(number)}")

    def _take_listener(self, number: int) -> None:
        """Take the listener that the command is about to open. It cannot say that it has: any call for that
        may be one that waits for an answer."""
        assert self._on_listener is not None
        failed = select.poll()
        failed.register(self._failure, select.POLLIN)
        while not failed.poll(_INSTALLING):
            try:
                listener = syscall_filter.take_descriptor(self.pid, number)
            except OSError as error:
                if error.errno in (errno.EBADF, errno.ESRCH):  # not yet; not any more, as the poll will tell
                    continue
                os.kill(self.pid, signal.SIGKILL)  # its execve would wait for ever
                raise NotPermittedError(
                    f"cannot take the descriptor by which calls of {self.name!r} are answered:"
                    f" {os.strerror(error.errno or 0)}",
                    hint="kernel.yama.ptrace_scope below 3, or CAP_SYS_PTRACE",
                ) from error
            self._on_listener(listener)
            return

    def poll(self) -> int | None:
        """Return its exit status once it has ended (128 + N if signal N ended it), else None."""
        if self.status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except (
                ChildProcessError
            ):  # the program that uses us ignores SIGCHLD: there is no status to be had
                pid, status = self.pid, 0
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code
        return self.status

    def terminate(self) -> None:
        """Send it SIGTERM, wait, and kill it if it does not end in time."""
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


def _restore_or_exit() -> None:
    try:
        inherited.restore()
    except BaseException:  # what runs above belongs to the parent
        os._exit(127)


def _redirect_or_exit(stdout: int | None, stderr: int | None) -> None:
    try:
        # Both are copied before one takes a place that the other may have.
        copies = [(os.dup(fd), target) for fd, target in ((stdout, 1), (stderr, 2)) if fd is not None]
        for copy, target in copies:
            os.dup2(copy, target)
            os.close(copy)
    except BaseException:  # what runs above belongs to the parent
        os._exit(127)


def _run_child(
    path: str,
    argv: Sequence[str],
    gate: int,
    other_end: int,
    failure: int,
) -> None:
    """Run the child's side: wait, then execute. Does not return."""
    try:
        os.close(other_end)
        settings = os.read(gate, _RELEASE.size)
        if len(settings) == _RELEASE.size:
            size, flags, no_new_privs = _RELEASE.unpack(settings)
            if size:
                confinement = Confinement(_read_all(gate, size), flags, no_new_privs)
                _execute_confined(path, argv, confinement, failure)
            os.execve(path, list(argv), os.environ)
    except OSError as error:
        os.write(failure, _RESULT.pack(error.errno or 0))
    finally:
        os._exit(127)


def _read_all(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := os.read(descriptor, size - len(data))):
        data += part
    return data


def _execute_confined(path: str, argv: Sequence[str], confinement: Confinement, failure: int) -> None:
    """Install the filter and execute. Raises OSError, of which only the number is valid.

    Between the two only system calls that the filter allows may be made: everything is allocated before,
    Python keeps its lock, and garbage collection is off.
    """
    installer = syscall_filter.Installer(
        confinement.program, confinement.flags, no_new_privs=confinement.no_new_privs
    )
    words = [os.fsencode(word) for word in argv]
    variables = [b"%s=%s" % item for item in os.environb.items()]
    arguments = (ctypes.c_char_p * (len(words) + 1))(*words, None)
    environment = (ctypes.c_char_p * (len(variables) + 1))(*variables, None)
    file = ctypes.c_char_p(os.fsencode(path))
    execute = ctypes.PyDLL(None, use_errno=True).execve
    execute(None, arguments, environment)  # fails, and leaves behind it all that a second one needs
    gc.disable()
    if confinement.flags & syscall_filter.NEW_LISTENER:
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.close(lowest)
        os.write(failure, _RESULT.pack(-1 - lowest))  # the listener gets the lowest free number, too
    if not installer.install():
        raise OSError(ctypes.get_errno() | _CANNOT_CONFINE, "")
    execute(file, arguments, environment)
    raise OSError(ctypes.get_errno() or errno.EPERM, "")
