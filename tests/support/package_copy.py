"""Copy the package with changes to its C, for a process that imports the copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytracer


def copy_package(folder: Path, changes: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Copy the package into ``folder`` and change its C. Returns the environment to run it in.

    ``changes`` maps a file in probes_c to a text in it and what takes its place.
    """
    copy = folder / "pytracer"
    source = Path(pytracer.__file__).parent
    shutil.copytree(source, copy, symlinks=False, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (before, after) in changes.items():
        file = copy / "probes_c" / name
        text = file.read_text()
        assert text.count(before) == 1, (name, before)
        file.write_text(text.replace(before, after))
    return {"PYTHONPATH": str(folder)}
