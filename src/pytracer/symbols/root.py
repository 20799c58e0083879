"""The tree of files that a process sees: a container's is not ours, and its links lead within it."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from pytracer.procfs import living
from pytracer.symbols import memory_maps
from pytracer.symbols.memory_maps import Handle

_OPENAT2 = 437  # on every machine; Linux 5.6 (fddb5d430ad9)
_IN_ROOT = 0x10  # RESOLVE_IN_ROOT
_libc = ctypes.CDLL(None, use_errno=True)


class Root:
    """The root folder of a process (0: ours), from which absolute paths are resolved. A context manager."""

    def __init__(self, pid: int = 0) -> None:
        """Open the root. Raises OSError if there is no such process, or it may not be inspected."""
        self.pid = pid
        path = memory_maps.PROC / str(living(pid, memory_maps.PROC)) / "root" if pid else "/"
        self._fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def open(self, path: str) -> int:
        """Open a file for reading, and return its descriptor; a file that is not regular opens without
        blocking.

        Raises OSError.
        """
        return self._open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)

    def look(self, path: str) -> Handle:
        """Look up a file without opening it; a link as the last part is not followed. Raises OSError."""
        return Handle(self._open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW))

    def _open(self, path: str, flags: int) -> int:
        if not self.pid:
            return os.open(path, flags)
        name = ctypes.create_string_buffer(os.fsencode(path))
        open_how = struct.pack("QQQ", flags, 0, _IN_ROOT)
        descriptor = int(_libc.syscall(_OPENAT2, self._fd, name, open_how, len(open_how)))
        if descriptor >= 0:
            return descriptor
        error = ctypes.get_errno()
        if error in (errno.ENOSYS, errno.EPERM):  # links that begin with / are then followed in our tree
            return os.open(path.lstrip("/"), flags, dir_fd=self._fd)
        raise OSError(error, os.strerror(error), path)

    def read(self, path: str, limit: int = 1 << 24) -> bytes:
        """Read a regular file, at most ``limit`` bytes. Raises OSError."""
        with open(self.open(path), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
            return file.read(limit)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
