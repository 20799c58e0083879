"""Remove what has not been used for the longest time from a folder of the cache."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

DAY = 86400


def mark_used(path: Path) -> None:
    """Mark a file as used, about once a day."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > DAY:
            os.utime(path)


def prune(folder: Path, suffix: str, max_files: int, max_bytes: int) -> None:
    """Keep the newest files with a suffix up to a number and a size; remove unfinished files of killed
    starts."""
    files = []
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            status = entry.lstat()
            age = time.time() - status.st_mtime
            if entry.name.startswith(".new-") and age > DAY:
                entry.unlink()
            elif entry.name.endswith(suffix):
                files.append((age, entry, status.st_size))
    size = 0
    for number, (_, entry, entry_size) in enumerate(sorted(files)):
        size += entry_size
        if number >= max_files or size > max_bytes:
            with contextlib.suppress(OSError):
                entry.unlink()
