"""Read the running kernel's configuration and version."""

from __future__ import annotations

import os
import re
from pathlib import Path

CONFIGS = (Path("/proc/config.gz"), Path(f"/boot/config-{os.uname().release}"))


def option(name: str) -> str | None:
    """Return the value of ``CONFIG_<name>``: ``y``, ``m``, ``n``, a number; None if the configuration is
    unknown."""
    for path in CONFIGS:
        try:
            data = path.read_bytes()
            if path.suffix == ".gz":
                import gzip  # not for the starts that need only the version

                data = gzip.decompress(data)
        except OSError:
            continue
        match = re.search(rb"^CONFIG_" + name.encode() + rb"=(\S+)", data, re.M)
        return match[1].decode() if match else "n"
    return None


def is_since(version: str) -> bool:
    """Return whether the running kernel is of a version (``5.18``) or later."""
    running = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if running is None:
        return False
    required = [int(number) for number in version.split(".")[:2]]
    return [int(running[1]), int(running[2])] >= required
