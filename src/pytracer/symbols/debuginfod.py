"""Download symbols from the debuginfod servers in ``DEBUGINFOD_URLS``, by build id, into the cache folder
of debuginfod's own client.

See "Finding names" in docs/internals.md.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from pathlib import Path

from pytracer.budget import Account, OverBudgetError
from pytracer.symbols import elf_tables
from pytracer.symbols.elf_tables import ElfError

_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")
_PATIENCE = 10.0  # seconds for a file, all of it; a server that takes longer is not asked again
_LIMIT = 1 << 30  # bytes of one file
_silent = set[str]()


def find(build_id: str, account: Account) -> Path | None:
    """Return the debug file for a build id (hexadecimal) from the cache or a server; None if none has it. A
    cached file that was not made by us or root is not used. The wait is charged to ``account``; meanwhile
    results wait, and so does Ctrl-C."""
    urls = [url.rstrip("/") for url in os.environ.get("DEBUGINFOD_URLS", "").split()]
    urls = [url for url in urls if url.startswith(("http://", "https://"))]
    if not urls or not _BUILD_ID.fullmatch(build_id):
        return None
    with contextlib.suppress(OSError):
        folder = _cache_folder() / build_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_own_folder(folder):
            return None
        path = folder / "debuginfo"
        if (
            path.is_file() and path.stat().st_size
        ):  # of what a server did not have, its client keeps an empty one
            return path
        for url in urls:
            if url not in _silent and _fetch(url, build_id, path, account):
                return path
    return None


def _cache_folder() -> Path:
    if path := os.environ.get("DEBUGINFOD_CACHE_PATH"):
        return Path(path)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "debuginfod_client"


def _is_own_folder(folder: Path) -> bool:
    """Return whether only root and we can write to a folder and its parents."""
    for path in (folder.resolve(), *folder.resolve().parents):
        status = path.stat()
        is_writable_by_others = (
            status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
        )
        if status.st_uid not in (0, os.geteuid()) or is_writable_by_others:
            return False
    return True


def _fetch(server: str, build_id: str, path: Path, account: Account) -> bool:
    """Download a debug file to ``path``. Returns whether the server has it. The file appears there only
    when it is complete, since debuginfod's own client reads it, too."""
    import tempfile

    from pytracer.symbols import download

    seconds = min(_PATIENCE, account.left("wait"))
    if seconds <= 0:
        return False
    with tempfile.NamedTemporaryFile(dir=path.parent) as file:
        start = time.monotonic()
        try:
            address = f"{server}/buildid/{build_id}/debuginfo"
            outcome = download.fetch(address, file, seconds=seconds, limit=_LIMIT)
        except OSError:
            _silent.add(server)
            return False
        finally:
            with contextlib.suppress(OverBudgetError):  # the file is here: the next one is not asked for
                account.charge(wait=time.monotonic() - start)
        if not outcome:
            return False
        file.flush()
        if not _has_build_id(file.fileno(), build_id):
            return False
        path.unlink(missing_ok=True)
        os.link(file.name, path)
        return True


def _has_build_id(descriptor: int, build_id: str) -> bool:
    """Return whether an open file is an ELF file with this build id."""
    with contextlib.suppress(ElfError):
        return elf_tables.read(descriptor).build_id() == build_id
    return False
