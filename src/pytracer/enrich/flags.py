"""Decode open flags, by the names of open(2) without ``O_``, and file types."""

from __future__ import annotations

import os
import stat

_ACCESS = ("RDONLY", "WRONLY", "RDWR", "ACCMODE")
# Those that hold others come first: O_SYNC is a bit and O_DSYNC, O_TMPFILE a bit and O_DIRECTORY.
_NAMES = (
    "CREAT", "EXCL", "NOCTTY", "TRUNC", "APPEND", "NONBLOCK", "SYNC", "DSYNC", "ASYNC", "DIRECT",
    "LARGEFILE", "TMPFILE", "DIRECTORY", "NOFOLLOW", "NOATIME", "CLOEXEC", "PATH",
)  # fmt: skip
# The C library says 0, as every file is large to 64-bit programs; 32-bit ones set the kernel's own.
_LARGEFILE = 0o400000 if os.uname().machine == "aarch64" else 0o100000
_BITS = {name: getattr(os, f"O_{name}", 0) for name in _NAMES} | {"LARGEFILE": _LARGEFILE}


def open_flags(flags: int) -> str:
    """Decode open flags: ``0o2000001`` -> ``WRONLY|CLOEXEC``; bits without a name as one number at the
    end."""
    names = [_ACCESS[flags & 3]]
    remaining = flags & ~3
    for name, bits in _BITS.items():
        if bits and remaining & bits == bits:
            names.append(name)
            remaining &= ~bits
    return "|".join([*names, hex(remaining)] if remaining else names)


# include/uapi/linux/sched.h, without the CLONE_; the lowest byte is the parent's signal.
_CLONE = {
    1 << bit: name
    for bit, name in enumerate(
        (
            "VM", "FS", "FILES", "SIGHAND", "PIDFD", "PTRACE", "VFORK", "PARENT", "THREAD", "NEWNS",
            "SYSVSEM", "SETTLS", "PARENT_SETTID", "CHILD_CLEARTID", "DETACHED", "UNTRACED", "CHILD_SETTID",
            "NEWCGROUP", "NEWUTS", "NEWIPC", "NEWUSER", "NEWPID", "NEWNET", "IO", "CLEAR_SIGHAND",
            "INTO_CGROUP",
        ),
        start=8,
    )
} | {0x80: "NEWTIME"}  # fmt: skip


def clone_flags(flags: int) -> str:
    """Decode clone flags: ``0x10f00`` -> ``VM|FS|FILES|SIGHAND|THREAD``; unnamed bits as one number at the
    end."""
    names = [name for bit, name in _CLONE.items() if flags & bit]
    remaining = flags & ~0x7F & ~sum(_CLONE)
    return "|".join([*names, hex(remaining)] if remaining else names)


_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFLNK: "link",
    0: "anon",
}


def file_type(mode: int) -> str:
    """Decode the bits of S_IFMT: ``0o100000`` -> ``file``; ``anon`` has none (an anonymous inode)."""
    return _TYPES.get(mode, f"unknown:{mode:#o}")


_OPERATIONS = ("open", "read", "write", "sync")


def file_operation(number: int) -> str:
    """Decode enum pt_operation of probes_c/include/fsops.h: ``1`` -> ``read``."""
    return _OPERATIONS[number] if 0 <= number < len(_OPERATIONS) else f"unknown:{number}"
