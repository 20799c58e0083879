"""The kernel's permission checks that fault injection may answer: functions named ``security_*``.

Each calls the security modules, returns 0 or a negative errno that its callers pass on, and allocates
nothing. So a program may answer in its place without a leak. Left out are ``security_*`` functions that
allocate (``security_file_alloc``), report what has happened, or whose callers take any error for another
one (``security_capable``).
"""

from __future__ import annotations

from collections.abc import Iterator

from pytracer.record import record

PREFIX = "security_"
MAX_ERRNO = 4095
"""The largest number that the kernel takes for an error (include/linux/err.h)."""


@record
class PermissionCheck:
    """A permission check: its name without the prefix, the ``operations`` that fail with it, what ``also``
    passes it, and the LSM hook that it calls, if that has another name."""

    name: str
    operations: str
    also: str = ""
    renamed_hook: str = ""

    @property
    def function(self) -> str:
        """The name of the kernel function."""
        return PREFIX + self.name

    @property
    def hook(self) -> str:
        """The name of the LSM hook."""
        return self.renamed_hook or self.name


_KERNEL_SOCKETS = "the kernel's own sockets"
_ALL = (
    PermissionCheck("bprm_check", "exec", "each interpreter of a script", renamed_hook="bprm_check_security"),
    PermissionCheck("bpf", "bpf()"),
    PermissionCheck(
        "file_open", "opens of files", "exec, the dynamic loader, and files that the kernel opens itself"
    ),
    PermissionCheck("file_permission", "reads, writes and listings of open files", "pipes and sockets"),
    PermissionCheck("file_ioctl", "ioctl()"),
    PermissionCheck("file_lock", "flock() and locks of fcntl()"),
    PermissionCheck("file_fcntl", "fcntl()"),
    PermissionCheck("file_mprotect", "mprotect()"),
    PermissionCheck("mmap_file", "mmap()", "anonymous memory (malloc) and exec"),
    PermissionCheck("inode_create", "creation of files"),
    PermissionCheck("inode_getattr", "stat()", "exec, and loaders, which look at files first"),
    PermissionCheck("inode_link", "link()"),
    PermissionCheck("inode_mkdir", "mkdir()"),
    PermissionCheck("inode_mknod", "mknod()", "bind() of Unix sockets"),
    PermissionCheck("inode_permission", "lookups", "each folder of each path"),
    PermissionCheck("inode_readlink", "readlink()"),
    PermissionCheck("inode_rename", "rename()"),
    PermissionCheck("inode_rmdir", "rmdir()"),
    PermissionCheck("inode_setattr", "chmod(), chown(), truncate(), utimes()", "opens that truncate"),
    PermissionCheck("inode_setxattr", "setxattr()"),
    PermissionCheck("inode_symlink", "symlink()"),
    PermissionCheck("inode_unlink", "unlink()"),
    PermissionCheck("kernel_module_request", "modules that the kernel requests"),
    PermissionCheck("msg_queue_msgrcv", "msgrcv()"),
    PermissionCheck("msg_queue_msgsnd", "msgsnd()"),
    PermissionCheck("perf_event_open", "perf_event_open()"),
    PermissionCheck(
        "ptrace_access_check", "ptrace(), process_vm_readv()", "files of other processes in /proc"
    ),
    PermissionCheck("sb_mount", "mount()"),
    PermissionCheck("sb_umount", "umount()"),
    PermissionCheck("sem_semop", "semop()"),
    PermissionCheck("shm_shmat", "shmat()"),
    PermissionCheck("socket_accept", "accept()"),
    PermissionCheck("socket_bind", "bind()"),
    PermissionCheck("socket_connect", "connect()"),
    PermissionCheck("socket_create", "socket()", _KERNEL_SOCKETS),
    PermissionCheck("socket_getsockopt", "getsockopt()"),
    PermissionCheck("socket_listen", "listen()"),
    PermissionCheck("socket_recvmsg", "receiving", "reads of sockets"),
    PermissionCheck("socket_sendmsg", "sending", f"writes to sockets, and {_KERNEL_SOCKETS}"),
    PermissionCheck("socket_setsockopt", "setsockopt()"),
    PermissionCheck("socket_shutdown", "shutdown()"),
    PermissionCheck("task_kill", "kill() and other signals from processes"),
    PermissionCheck("task_setnice", "nice(), setpriority()"),
    PermissionCheck("task_setpgid", "setpgid()"),
    PermissionCheck("task_setscheduler", "sched_setscheduler(), sched_setaffinity()"),
    PermissionCheck("unix_may_send", "datagrams between Unix sockets"),
    PermissionCheck("unix_stream_connect", "connect() of Unix sockets"),
)

CHECKS = {check.function: check for check in _ALL}
"""The checks by the name of their function."""

_NAMES_A_LINE = 6


def _list_names() -> Iterator[str]:
    names = [check.name for check in _ALL]
    yield f"The checks, each {PREFIX}NAME:"
    for start in range(0, len(names), _NAMES_A_LINE):
        line = names[start : start + _NAMES_A_LINE]
        yield ", ".join(line) + ("," if names[-1] not in line else ".")


NOTES = tuple(_list_names())
"""The names of all checks, as lines of a tracer's notes."""
