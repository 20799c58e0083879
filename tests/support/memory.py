"""Create memory cgroups of either version."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pytracer.kernel.filter_values import cgroup2_roots

V1 = Path("/sys/fs/cgroup/memory")


@contextlib.contextmanager
def memory_cgroup(limit: int) -> Iterator[Path]:
    """Create a cgroup that is limited to ``limit`` bytes of memory and no swap."""
    if (V1 / "memory.limit_in_bytes").exists():
        folder = V1 / f"pytracer-test-{os.getpid()}"
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(limit))
    else:
        root = cgroup2_roots()[0]
        (root / "cgroup.subtree_control").write_text("+memory")
        folder = root / f"pytracer-memory-{os.getpid()}"
        folder.mkdir()
        (folder / "memory.max").write_text(str(limit))
        with contextlib.suppress(OSError):
            (folder / "memory.swap.max").write_text("0")
    try:
        yield folder
    finally:
        folder.rmdir()


def kill_count(folder: Path) -> int:
    """Return how many processes the kernel has killed in it, as it counts."""
    name = "memory.oom_control" if folder.is_relative_to(V1) else "memory.events"
    counts = dict(line.split() for line in (folder / name).read_text().splitlines())
    return int(counts["oom_kill"])


def limit_hits(folder: Path) -> int:
    """Return how often a charge has hit its limit, as the kernel counts."""
    if folder.is_relative_to(V1):
        return int((folder / "memory.failcnt").read_text())
    counts = dict(line.split() for line in (folder / "memory.events").read_text().splitlines())
    return int(counts["max"])
