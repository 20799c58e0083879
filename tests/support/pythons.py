"""Find the interpreters of Python on this machine: the distribution's, those of PATH, and pyenv's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

DISTRIBUTION = "/usr/bin/python3.11"
_MINORS = range(9, 15)
_BUILT = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
_PATH = ":".join(part for part in os.get_exec_path() if not part.endswith("/shims"))  # which choose a version


def find_pythons() -> list[str]:
    """Return the distribution's interpreter, and one of each version that can be found."""
    found = [DISTRIBUTION]
    for minor in _MINORS:
        name = f"python3.{minor}"
        built = sorted(_BUILT.glob(f"3.{minor}.*/bin/{name}"))
        path = str(built[-1]) if built else shutil.which(name, path=_PATH)
        if path is not None and path != DISTRIBUTION:
            found.append(path)
    return found


def find_libraries() -> list[tuple[tuple[int, int], Path]]:
    """Return version and path of the shared interpreters that pyenv built, which have debug information."""
    return [
        ((3, minor), path)
        for minor in _MINORS
        for path in sorted(_BUILT.glob(f"3.{minor}.*/lib/libpython3.{minor}.so.1.0"))
    ]
