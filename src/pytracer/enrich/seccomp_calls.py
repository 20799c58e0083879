"""Make a seccomp profile of the calls that were counted."""

from __future__ import annotations

import os

from pytracer.kernel.syscalls import SECCOMP_NAMES, abis, number_of
from pytracer.model import ProfileSnapshot, Snapshot

ALWAYS = ("execve", "exit", "exit_group", "restart_syscall", "rt_sigreturn")
"""Calls that every command needs though a run may not show them: the execve that starts it happens before
it is traced; a signal's handler returns, and an interrupted call is restarted, only if there is a signal."""
_OLD = {"i386": ("sigreturn",), "arm": ("sigreturn",)}

RUNTIME = (
    "capget", "capset", "chdir", "close", "close_range", "epoll_ctl", "epoll_pwait", "faccessat",
    "faccessat2", "fchown", "fcntl", "fstat", "fstatfs", "futex", "getcwd", "getdents64", "getpid",
    "getppid", "gettid", "lseek", "madvise", "mmap", "munmap", "nanosleep", "newfstatat", "openat",
    "prctl", "read", "rt_sigaction", "rt_sigprocmask", "sched_yield", "setgid", "setgroups", "setuid",
    "sigaltstack", "statx", "tgkill", "write",
)  # fmt: skip
"""Calls that runc, its Go runtime included, makes with the profile already in force: it closes descriptors,
drops capabilities, changes the user and the folder. With no_new_privs it makes some of them before."""


def profile(snapshot: Snapshot) -> ProfileSnapshot:
    """Return the profile of a table of calls as people read them: ``openat``, ``i386:openat``,
    ``syscall_999``."""
    native = os.uname().machine
    names, seen_abis, unnamed = set(ALWAYS), {native}, set()
    for label in snapshot.columns["syscall"]:
        abi, _, name = label.rpartition(":")
        if name.startswith("syscall_"):
            unnamed.add(label)
        else:
            names.add(name)
            seen_abis.add(abi or native)
    for abi in seen_abis:
        names.update(_OLD.get(abi, ()))
    return ProfileSnapshot(
        **vars(snapshot),
        architectures=tuple(
            SECCOMP_NAMES[abi] for abi in abis(native) if abi in seen_abis & SECCOMP_NAMES.keys()
        ),
        calls=tuple(sorted(names)),
        runtime=tuple(name for name in RUNTIME if name not in names and number_of(native, name) is not None),
        unnamed=tuple(sorted(unnamed)),
    )
