"""Find the user that a process belongs to, whose budget pays for the input that it makes us read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sys

from pytracer.budget import Account, Budget
from pytracer.procfs import living
from pytracer.record import record
from pytracer.symbols.memory_maps import PROC
from pytracer.text import harmless

# include/uapi/linux/nsfs.h, Linux 4.9 (6786741dbf99, a7306ed8d94a) and 4.11 (d95fa3c76a66)
_NS_GET_PARENT, _NS_GET_OWNER_UID = 0xB702, 0xB704
_NESTED = 32  # user namespaces within each other, which the kernel allows


@record
class Credentials:
    """The identity of a process in /proc/PID/status. ``pids`` is its id in each PID namespace, innermost
    last."""

    comm: str
    uid: int
    euid: int
    pids: tuple[int, ...]


def credentials(pid: int) -> Credentials | None:
    """Read the credentials of a process; None if it is gone or unreadable."""
    with contextlib.suppress(OSError):
        text = (PROC / str(pid) / "status").read_text(errors="replace")
        user = re.search(r"^Uid:\s+(\d+)\s+(\d+)", text, re.M)
        inside = re.search(r"^NSpid:((?:\s+\d+)+)$", text, re.M)  # since Linux 4.1
        comm = re.match(r"Name:\t(.*)", text)
        if user is not None:
            pids = tuple(map(int, inside[1].split())) if inside else (pid,)
            return Credentials(harmless(comm[1]) if comm else "", int(user[1]), int(user[2]), pids)
    return None


def credentials_of(pid: int, uid: int) -> int:
    """Return the user to charge: the one who made the outermost user namespace of a process of ``uid``.

    Within that namespace one user has 65,536 uids. In ours, it is ``uid``.
    """
    descriptor = -1
    try:
        descriptor = os.open(PROC / str(living(pid, PROC)) / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
        own_namespace = (PROC / "self/ns/user").stat().st_ino
        for _ in range(_NESTED):
            if os.fstat(descriptor).st_ino == own_namespace:
                return uid
            mask = bytearray(4)
            fcntl.ioctl(descriptor, _NS_GET_OWNER_UID, mask)
            uid = int.from_bytes(mask, sys.byteorder)
            parent = fcntl.ioctl(descriptor, _NS_GET_PARENT)
            os.close(descriptor)
            descriptor = parent
    except OSError:  # a namespace that is no descendant of ours, or is not for us to see
        pass
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return uid


def root_of_namespace(pid: int) -> int:
    """Return the uid (as we see it) of root in a process's user namespace: 0 in ours, and if it is
    unknown."""
    with contextlib.suppress(OSError, ValueError):
        for line in (PROC / str(pid) / "uid_map").read_text().splitlines():
            inside, outside, _ = map(int, line.split())
            if inside == 0:
                return outside
    return 0


def account(budget: Budget, pid: int, credentials: Credentials) -> Account:
    """Return the account that a process is charged to."""
    return budget.account(credentials_of(pid, credentials.uid), f"process {pid} ({credentials.comm})")
