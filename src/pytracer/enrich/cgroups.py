"""Cgroups by their ids."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pytracer.kernel.targets import cgroup2_roots


def cgroup_decoder(folders: Sequence[str] = ()) -> Callable[[int], str]:
    """A decoder: a cgroup's path from the root that is mounted, ``cgroup_N`` where it is not to be seen.

    Those of the ``folders`` are known from now on, should they be removed before there is anything to show.
    """
    # A path is kept: the cgroup may be gone when the summary is shown.
    known = {number: path for path, number in _named(folders)}

    def decode(number: int) -> str:
        if number not in known:
            for path, inode in _cgroups():
                known.setdefault(inode, path)
        return known.setdefault(number, f"cgroup_{number}")

    return decode


def _cgroups() -> Iterator[tuple[str, int]]:
    """All there are, and their ids."""
    for root in cgroup2_roots()[:1]:
        yield from _named(folder for folder, _, _ in os.walk(root))


def _named(folders: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Paths and ids: these are the inodes of their folders (Linux 5.5, 743210386c03)."""
    roots = cgroup2_roots() if folders else []
    for folder in map(Path, folders):
        with contextlib.suppress(OSError):  # it was removed meanwhile
            for root in roots:
                if folder.is_relative_to(root):
                    yield f"/{folder.relative_to(root)}".removesuffix("/.") or "/", folder.stat().st_ino
                    break
