"""Symbols from debuginfod servers, where ``DEBUGINFOD_URLS`` names some: asked for by build id, and kept in
the folder that debuginfod's own client keeps them in.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import IO

_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")
_PATIENCE = 10.0  # seconds without a word from a server; such a one is not asked again
_LIMIT = 1 << 30  # bytes of one file
_silent = set[str]()


def find(build_id: str) -> Path | None:
    """The file with the symbols that belong to a build id (hexadecimal), as a server called it; None where
    there is none, or nobody to ask. What is in it is not looked at."""
    urls = [url.rstrip("/") for url in os.environ.get("DEBUGINFOD_URLS", "").split()]
    urls = [url for url in urls if url.startswith(("http://", "https://"))]
    if not urls or not _BUILD_ID.fullmatch(build_id):
        return None
    with contextlib.suppress(OSError):
        folder = _folder() / build_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours(folder):
            return None
        path = folder / "debuginfo"
        if (
            path.is_file() and path.stat().st_size
        ):  # of what a server did not have, its client keeps an empty one
            return path
        for url in urls:
            if url not in _silent and _fetch(f"{url}/buildid/{build_id}/debuginfo", url, path):
                return path
    return None


def _folder() -> Path:
    if path := os.environ.get("DEBUGINFOD_CACHE_PATH"):
        return Path(path)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "debuginfod_client"


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can have put something there."""
    for path in (folder.resolve(), *folder.resolve().parents):
        found = path.stat()
        others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()) or others:
            return False
    return True


def _fetch(address: str, server: str, path: Path) -> bool:
    """Whether a server has the file; it is then at ``path``, whole."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with (
            urlopen(address, timeout=_PATIENCE) as answer,
            tempfile.NamedTemporaryFile(dir=path.parent) as file,
        ):
            if not _copy(answer, file):
                return False
            file.flush()
            path.unlink(missing_ok=True)
            os.link(file.name, path)
            return True
    except HTTPError:  # it has no such file
        return False
    except OSError:
        _silent.add(server)
        return False


def _copy(answer: IO[bytes], file: IO[bytes]) -> bool:
    """Whether there was something, and not too much."""
    size = 0
    while part := answer.read(1 << 20):
        size += len(part)
        if size > _LIMIT:
            return False
        file.write(part)
    return size > 0
