"""File systems of a test's own: ext4 on a loop device."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from support.disks import loop


@contextlib.contextmanager
def mounted(folder: Path, size: int = 64 << 20) -> Iterator[Path]:
    """An empty ext4, mounted in ``folder``; where it is."""
    with loop(folder, size) as device:
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", device], check=True)
        point = folder / "mounted"
        point.mkdir()
        subprocess.run(["mount", "-t", "ext4", device, point], check=True)
        try:
            yield point
        finally:
            subprocess.run(["umount", point], check=True)
