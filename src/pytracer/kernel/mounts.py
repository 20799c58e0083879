"""Mount the kernel's own file systems (tracefs, debugfs, securityfs) where no other process sees them.

A machine need not have them mounted, and pytracer must not change that. So the process first enters a mount
namespace of its own, from which nothing propagates to the machine's, and mounts there. The namespace ends
with the process, however that ends, so there is nothing to clean up.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import sys
from pathlib import Path

TRACEFS = "tracefs"
DEBUGFS = "debugfs"
SECURITYFS = "securityfs"
TMPFS = "tmpfs"
MAGIC = {  # include/uapi/linux/magic.h
    TRACEFS: 0x74726163,
    DEBUGFS: 0x64626720,
    SECURITYFS: 0x73636673,
    TMPFS: 0x01021994,
}

_CLONE_NEWNS = 0x00020000  # include/uapi/linux/sched.h
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_SLAVE = 2, 4, 8, 0x4000, 1 << 19  # include/uapi/linux/mount.h
_STATFS_SIZE = 256  # struct statfs has 120 bytes at most
_NAMESPACE = Path("/proc/thread-self/ns/mnt")
_MOUNTS = Path("/proc/thread-self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")  # how it writes blanks and the like

_libc = ctypes.CDLL(None, use_errno=True)
_private_threads: int | None = None  # inode of the namespace that enter_private_namespace() made


def enter_private_namespace() -> None:
    """Move the calling thread into a mount namespace of its own; a second call does nothing.

    Mounts made there do not reach the machine, while what the machine mounts and unmounts still arrives
    here, so that none of its disks is kept busy. Children forked before this stay outside. Raises OSError
    (EPERM without CAP_SYS_ADMIN).
    """
    global _private_threads
    if _private_threads is not None and _private_threads == _read_namespace():
        return
    if _libc.unshare(_CLONE_NEWNS) < 0:
        raise _make_error("unshare")
    _stop_propagation()
    _private_threads = _read_namespace()


def ensure_mounted(fstype: str, path: str | Path) -> bool:
    """Ensure that a file system of this type is mounted at ``path``. Returns whether this mounted it.

    A mount is made in pytracer's own namespace only. Raises OSError: EPERM without CAP_SYS_ADMIN in the
    initial user namespace, ENODEV if the kernel lacks the type, ENOENT if it lacks the folder.
    """
    if read_type(path) == MAGIC[fstype]:
        return False
    enter_private_namespace()
    target = os.path.realpath(path)
    if _mount(fstype, target, fstype, _MS_NOSUID | _MS_NODEV | _MS_NOEXEC) < 0:
        raise _make_error(target)
    return True


def hide(path: str | Path) -> None:
    """Mount an empty folder over ``path``, for this namespace only. Raises OSError as :func:`ensure_mounted`
    does."""
    enter_private_namespace()
    target = os.path.realpath(path)
    if _mount(TMPFS, target, TMPFS, _MS_NOSUID | _MS_NODEV | _MS_NOEXEC) < 0:
        raise _make_error(target)


def read_type(path: str | Path) -> int:
    """Return the magic number of the file system of ``path``; 0 if it cannot be read."""
    buffer = ctypes.create_string_buffer(_STATFS_SIZE)
    if _libc.statfs(os.fsencode(path), buffer) < 0:
        return 0
    # f_type is a long or an unsigned int; all magic numbers fit in 32 bits, and s390x, the one big-endian
    # machine that pytracer knows, has the latter.
    return int.from_bytes(buffer.raw[:4], sys.byteorder)


def is_mounted(fstype: str, path: str | Path) -> bool:
    """Return whether a file system of this type is mounted at ``path``, for the calling thread."""
    return read_type(path) == MAGIC[fstype]


def _stop_propagation() -> None:
    """Stop mounts of this namespace from propagating to others; theirs still arrive here."""
    if _mount("none", "/", None, _MS_REC | _MS_SLAVE) == 0:
        return
    if ctypes.get_errno() != errno.EINVAL:
        raise _make_error("/")
    # EINVAL: "/" is no mount point but a folder that somebody made the root by chroot(2). The mounts
    # below it can still be told one by one.
    for line in _MOUNTS.read_bytes().splitlines():
        fields = line.split(b" ")
        if any(field.startswith(b"shared:") for field in fields[6 : fields.index(b"-")]):
            mount_point = _OCTAL.sub(lambda escape: bytes([int(escape[1], 8)]), fields[4])
            if _libc.mount(b"none", mount_point, None, ctypes.c_ulong(_MS_SLAVE), None) < 0:
                raise _make_error(os.fsdecode(mount_point))


def _mount(source: str, target: str, fstype: str | None, flags: int) -> int:
    kind = fstype.encode() if fstype else None
    return int(_libc.mount(source.encode(), os.fsencode(target), kind, ctypes.c_ulong(flags), None))


def _read_namespace() -> int | None:
    with contextlib.suppress(OSError):
        return _NAMESPACE.stat().st_ino
    return None


def _make_error(path: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)
