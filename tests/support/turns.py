"""Take turns: kernel tests of all workers and checkouts share the machine, or one has it alone.

The kernel drops these locks with the process that holds them. They are on folders that every checkout has, so
that no file is left. A test that wants the machine alone closes the door first: tests that come later wait
behind it, and those that run come to their end.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from pathlib import Path

TURN = "/run"
DOOR = "/var"


class Turn:
    """The right to run a kernel test: beside others, or alone."""

    def __init__(self, log: Callable[[str], None], turn: str = TURN, door: str = DOOR) -> None:
        """Prepare a turn; ``log`` shows a line to the user who started the tests."""
        self._log = log
        self._door = os.open(door, os.O_RDONLY | os.O_DIRECTORY)
        self._turn = os.open(turn, os.O_RDONLY | os.O_DIRECTORY)

    def take(self, *, is_exclusive: bool) -> None:
        """Take the turn. A second call releases the turn, and waits for one of the other kind."""
        fcntl.flock(self._turn, fcntl.LOCK_UN)
        self._lock(self._door, fcntl.LOCK_EX)
        try:
            self._lock(self._turn, fcntl.LOCK_EX if is_exclusive else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._door, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release the turn."""
        for descriptor in (self._turn, self._door):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that lives on may hold the descriptor, too
            os.close(descriptor)

    def _lock(self, descriptor: int, operation: int) -> None:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            foreign = [process for process in holders(descriptor) if not is_sibling(process)]
            if foreign:
                self._log(f"waiting for the kernel tests of {', '.join(map(describe, foreign))}")
            fcntl.flock(descriptor, operation)


def holders(descriptor: int) -> list[int]:
    """List the processes that hold a lock on this file, by /proc/locks."""
    inode = os.fstat(descriptor).st_ino
    # "4: FLOCK  ADVISORY  READ 812 00:19:1 0 EOF"; one that waits has "->" behind its number.
    pattern = rf"^\d+: FLOCK +\w+ +\w+ +(\d+) [0-9a-f:]+:{inode} "
    pids = re.findall(pattern, Path("/proc/locks").read_text(), re.M)
    return sorted({int(process) for process in pids} - {os.getpid()})


def is_sibling(process: int) -> bool:
    """Return True if this process and that one are workers of one pytest-xdist run."""
    if not os.environ.get("PYTEST_XDIST_WORKER"):
        return False
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(fields[1]) == os.getppid()


def describe(process: int) -> str:
    """Describe a process for a message, with its working folder."""
    try:
        return f"process {process} in {Path(f'/proc/{process}/cwd').readlink()}"
    except OSError:
        return f"process {process}"
