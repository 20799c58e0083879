"""Cgroups by their ids."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pytracer.budget import Budget
from pytracer.kernel.filter_values import cgroup2_roots, cgroup_path, cgroups
from pytracer.text import from_path


def cgroup_decoder(folders: Sequence[str] = (), budget: Budget | None = None) -> Callable[[int], str]:
    """Make a decoder of cgroup ids: the path below the mount point, ``cgroup_N`` if it cannot be found.

    Those of the ``folders`` are looked up now, as they may be removed before their rows are shown. If the
    kernel does not look up ids, all cgroups are searched, within ``budget``.
    """
    # A path is kept: the cgroup may be gone when the summary is shown.
    paths = {number: path for path, number in _iter_named(folders)}

    def decode(number: int) -> str:
        if number not in paths:
            path = cgroup_path(number)
            if path:
                paths[number] = path
            elif path is None:
                paths.update((inode, path) for path, inode, _ in cgroups(budget) if inode not in paths)
        return from_path(paths.setdefault(number, f"cgroup_{number}"))

    return decode


def _iter_named(folders: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Return the paths and ids of these cgroups."""
    roots = cgroup2_roots() if folders else []
    for folder in map(Path, folders):
        with contextlib.suppress(OSError):  # it was removed meanwhile
            for root in roots:
                if folder.is_relative_to(root):
                    yield f"/{folder.relative_to(root)}".removesuffix("/.") or "/", folder.stat().st_ino
                    break
