"""Symbols that were taken out of a file, where a distribution's package has brought them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pytracer.symbols import tables
from pytracer.symbols.tables import ElfError, Tables

FOLDER = Path("/usr/lib/debug/.build-id")


@contextlib.contextmanager
def separate(build_id: str) -> Iterator[Tables | None]:
    """The file with the symbols that belong to a build id (hexadecimal); None where there is none."""
    with contextlib.ExitStack() as held:
        found = None
        if build_id:
            path = FOLDER / build_id[:2] / f"{build_id[2:]}.debug"
            with contextlib.suppress(ElfError, OSError):
                file = held.enter_context(path.open("rb", buffering=0))
                found = tables.read(file.fileno())
        yield found if found is not None and found.build_id() == build_id else None
