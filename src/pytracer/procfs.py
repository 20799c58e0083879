"""Find the folder of /proc that shows a process's memory, files and namespaces.

A process whose main thread has exited lives on in its other threads, but /proc/PID then shows a zombie
without memory, root, executable and descriptors (Linux takes them from the main thread). Any living thread
shows them: /proc/TID has all files of a process's folder, also those (map_files) that /proc/PID/task/TID
lacks.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

PROC = Path("/proc")
_ENDED = (b"Z", b"X")  # states of proc(5): zombie, dead


def living(pid: int, proc: Path = PROC) -> int:
    """Return the id of a thread that shows what ``pid`` runs: its own, unless its main thread has ended."""
    if not has_ended(pid, proc):
        return pid
    with contextlib.suppress(OSError):
        threads = sorted(int(task.name) for task in (proc / str(pid) / "task").iterdir())
        for thread in threads:
            if thread != pid and not has_ended(thread, proc):
                return thread
    return pid


def has_ended(thread: int, proc: Path = PROC) -> bool:
    """Return whether a thread (a process: its main thread) is a zombie, or gone."""
    try:
        return read_stat(thread, proc)[0] in _ENDED
    except OSError:
        return True


def read_stat(thread: int, proc: Path = PROC) -> list[bytes]:
    """Read the fields of ``stat`` of proc(5) behind the name, which may contain anything: from the state on.

    Raises OSError if there is no such thread.
    """
    return (proc / str(thread) / "stat").read_bytes().rpartition(b") ")[2].split()
