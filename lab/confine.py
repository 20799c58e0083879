"""Start a program that ends with its parent, and optionally cannot write to any file system.

Run as a script by the lab, so that nothing has to happen between fork and exec:
`python confine.py PARENT rw|ro PROGRAM [ARGUMENT...]`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys

PR_SET_PDEATHSIG = 1
CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
SYS_MOUNT_SETATTR = 442  # the same on all architectures; Linux 5.12
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY = 1


def check(result: int, action: str) -> None:
    """Raise an error that names the action if a system call failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise SystemExit(f"lab: {action}: {os.strerror(number)}")


def main(arguments: list[str]) -> None:
    """Confine this process, then execute the program."""
    parent, mode, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != int(parent):
        raise SystemExit("lab: the parent is gone")
    if mode == "ro":
        check(libc.unshare(CLONE_NEWNS), "a mount namespace of its own")
        check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
        attributes = struct.pack("4Q", MOUNT_ATTR_RDONLY, 0, 0, 0)
        result = libc.syscall(
            SYS_MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, attributes, ctypes.c_size_t(len(attributes))
        )
        check(result, "read-only mounts (mount_setattr, Linux 5.12)")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
