"""seccomp(2): install a filter of system calls, and answer the calls that it leaves to a supervisor.

A filter is classic BPF. It stays as long as the process that installed it lives, and all its descendants
inherit it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import struct

from pytracer.kernel import syscalls
from pytracer.record import record

# What a filter returns (include/uapi/linux/seccomp.h).
KILL_PROCESS, KILL_THREAD, TRAP, ERRNO = 0x80000000, 0x00000000, 0x00030000, 0x00050000
USER_NOTIFICATION, LOG, ALLOW = 0x7FC00000, 0x7FFC0000, 0x7FFF0000

# Flags of SECCOMP_SET_MODE_FILTER. The last (Linux 5.19, c2aa2dfef243): of calls that wait for an answer,
# signals interrupt none but by killing the process.
NEW_LISTENER, WAIT_KILLABLE = 1 << 3, 1 << 5

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER = 1
_PIDFD_GETFD = 438
_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
_RESPONSE = struct.Struct("=QqiI")  # struct seccomp_notif_resp
_CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE


class _FilterProgram(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class Installer:
    """A filter that is ready to be installed: nothing is allocated between that and what follows."""

    def __init__(self, program: bytes, flags: int, *, no_new_privs: bool) -> None:
        """Prepare it. ``no_new_privs``: nothing that is executed gains privileges, which the kernel demands
        without CAP_SYS_ADMIN."""
        self._libc = ctypes.PyDLL(None, use_errno=True)
        self._number = ctypes.c_long(_call_number())
        self._program = _FilterProgram(len(program) // 8, program)
        self._reference = ctypes.byref(self._program)
        self._mode, self._flags = ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(flags)
        self._no_new_privs = no_new_privs

    def install(self) -> bool:
        """Install the filter on the calling thread. Returns False if the kernel refuses; the reason is
        ctypes.get_errno()."""
        if self._no_new_privs and self._libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            return False
        return bool(self._libc.syscall(self._number, self._mode, self._flags, self._reference) >= 0)


@functools.cache
def has_flags(flags: int) -> bool:
    """Return whether the kernel knows these flags of filters: then it misses the filter itself."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = (ctypes.c_long(word) for word in (_call_number(), _SET_MODE_FILTER, flags))
    return libc.syscall(*words, None) < 0 and ctypes.get_errno() == errno.EFAULT


@functools.cache
def can_take_descriptors() -> bool:
    """Return whether the kernel has pidfd_getfd (Linux 5.6, and so answers that let a call continue, 5.5)."""
    try:
        pidfd = os.pidfd_open(os.getpid())
    except OSError:
        return False
    try:
        os.close(_take_descriptor(pidfd, pidfd))
    except OSError as error:
        return error.errno != errno.ENOSYS
    finally:
        os.close(pidfd)
    return True


def take_descriptor(pid: int, number: int) -> int:
    """Duplicate a descriptor of another process. Raises OSError: EBADF if it has none of this number."""
    pidfd = os.pidfd_open(pid)
    try:
        return _take_descriptor(pidfd, number)
    finally:
        os.close(pidfd)


@record
class WaitingCall:
    """A system call that waits for an answer: an ``id`` for that, and the thread that makes it."""

    id: int
    thread: int
    number: int


def receive(listener: int) -> WaitingCall | None:
    """Take the next call that waits. Returns None if it does not any more. Raises OSError."""
    data = bytearray(_NOTIFICATION.size)  # the kernel wants zeros
    try:
        fcntl.ioctl(listener, _RECEIVE, data, True)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    identity, thread, _, number, *_ = _NOTIFICATION.unpack(data)
    return WaitingCall(identity, thread, number)


def answer(listener: int, call: WaitingCall, error: int = 0) -> bool:
    """Let a call fail with ``error``, or (0) continue. Returns False if it does not wait any more."""
    response = _RESPONSE.pack(call.id, 0, -error, 0 if error else _CONTINUE)
    with contextlib.suppress(FileNotFoundError):
        fcntl.ioctl(listener, _SEND, response)
        return True
    return False


def _take_descriptor(pidfd: int, number: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.syscall(ctypes.c_long(_PIDFD_GETFD), pidfd, number, 0))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def _call_number() -> int:
    return syscalls.number_of(os.uname().machine, "seccomp") or -1
