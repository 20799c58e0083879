"""Create ext4 file systems on loop devices."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from support.disks import loop


@contextlib.contextmanager
def mounted(folder: Path, size: int = 64 << 20) -> Iterator[Path]:
    """Mount an empty ext4 in ``folder``. Yields its path."""
    with loop(folder, size) as device:
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", device], check=True)
        point = folder / "mounted"
        point.mkdir()
        subprocess.run(["mount", "-t", "ext4", device, point], check=True)
        try:
            yield point
        finally:
            subprocess.run(["umount", point], check=True)
