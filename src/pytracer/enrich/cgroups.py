"""Cgroups by their ids."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pytracer.kernel.targets import cgroup2_roots


def cgroup_decoder() -> Callable[[int], str]:
    """A decoder: a cgroup's path from the root that is mounted, ``cgroup_N`` where it is not to be seen."""
    known = dict[int, str]()  # a path is kept: the cgroup may be gone when the summary is shown

    def decode(number: int) -> str:
        if number not in known:
            for path, inode in _cgroups():
                known.setdefault(inode, path)
        return known.setdefault(number, f"cgroup_{number}")

    return decode


def _cgroups() -> Iterator[tuple[str, int]]:
    """All there are, and their ids: these are the inodes of their folders (Linux 5.5, 743210386c03)."""
    for root in cgroup2_roots()[:1]:
        for folder, _, _ in os.walk(root):
            with contextlib.suppress(OSError):  # it was removed meanwhile
                yield (
                    f"/{Path(folder).relative_to(root)}".removesuffix("/.") or "/",
                    Path(folder).stat().st_ino,
                )
