"""List or clear the cache folder: images, folders of kernel types, answers of BTF, and unwind
tables."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pytracer.bpf.cache import type_answers, unwind_tables
from pytracer.bpf.cache.aging import DAY
from pytracer.bpf.cache.directory import CacheDir, explain_distrust, read_trusted
from pytracer.bpf.cache.image_cache import FOLDER, SUFFIX
from pytracer.bpf.image import ImageError, decode
from pytracer.errors import CacheError
from pytracer.record import record

HEADERS = "headers"
# The names that pytracer gives: in a folder that the user chose there may be other files.
_IMAGE = re.compile(rf".+-[0-9a-f]{{32}}{re.escape(SUFFIX)}")
_TREE = re.compile(r"((package|kheaders)-)?[0-9a-f]{32}")
_ANSWERS = re.compile(r"[0-9a-f]{32}")
_ROWS = re.compile(rf".+-[0-9a-f]{{32}}{re.escape(unwind_tables.SUFFIX)}")
_UNFINISHED = re.compile(r"\.new-.+")
# Where a folder of types names its kernel: in one made from BTF, and in one of a kernel's own headers.
_ORIGIN = "origin"
_RELEASE = re.compile(r'^#define UTS_RELEASE "([^"\n]*)"', re.M)


@record
class CacheEntry:
    """One cached image, header tree, file of answers, or unwind table.

    ``name`` is the tracer's name; for types, their source; for an unwind table, its file's name.
    ``kernel`` is the release; for another kernel's BTF the name of its file; "" if not known. ``size`` is in
    bytes; ``used`` is the time of the last use (seconds since the epoch, to the day).
    """

    kind: Literal["image", "headers", "types", "unwind"]
    path: Path
    name: str
    kernel: str
    size: int
    used: float


def list_entries(cache: CacheDir) -> Iterator[CacheEntry]:
    """Yield all entries, sorted by kind and name. Raises CacheError if a folder cannot be trusted."""
    for path, status in _iter_entries(cache, FOLDER, _IMAGE, stat.S_ISREG):
        name = path.name.removesuffix(SUFFIX).rpartition("-")[0].removesuffix(".c")
        yield CacheEntry("image", path, name, _read_image_kernel(path), status.st_size, status.st_mtime)
    for path, status in _iter_entries(cache, HEADERS, _TREE, stat.S_ISDIR):
        source = path.name.partition("-")[0] if "-" in path.name else "btf"
        yield CacheEntry(
            "headers", path, source, _read_types_kernel(path), _total_size(path), status.st_mtime
        )
    for path, status in _iter_entries(cache, type_answers.FOLDER, _ANSWERS, stat.S_ISREG):
        kernel = type_answers.read_kernel(read_trusted(path) or b"")
        yield CacheEntry("types", path, "btf", kernel, status.st_size, status.st_mtime)
    for path, status in _iter_entries(cache, unwind_tables.FOLDER, _ROWS, stat.S_ISREG):
        name = path.name.rpartition("-")[0]
        yield CacheEntry("unwind", path, name, "", status.st_size, status.st_mtime)


def clear(cache: CacheDir) -> list[CacheEntry]:
    """Remove everything that pytracer put into the cache, and nothing else. Returns the removed entries.

    Raises CacheError if a folder cannot be trusted or, once all else is removed, if an entry cannot be.
    """
    failed = list[tuple[Path, OSError]]()
    entries = list(list_entries(cache))
    old = [
        (path, status)
        for name in (FOLDER, HEADERS, type_answers.FOLDER, unwind_tables.FOLDER)
        for path, status in _iter_entries(cache, name, _UNFINISHED, lambda _: True)
        if time.time() - status.st_mtime > DAY  # else another start may be about to finish it
    ]
    for path in [*(item.path for item in entries), *(path for path, _ in old)]:
        try:
            # By descriptors, so that no folder can be swapped for a link meanwhile.
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        except FileNotFoundError:  # somebody else was quicker
            continue
        except OSError as error:
            failed.append((path, error))
    if failed:
        path, first = failed[0]
        rest_text = f", nor {len(failed) - 1} more" if len(failed) > 1 else ""
        raise CacheError(
            f"cannot remove {path}: {first.strerror}{rest_text}", hint="all else is dropped"
        ) from first
    return entries


def _iter_entries(
    cache: CacheDir, name: str, pattern: re.Pattern[str], accepts_mode: Callable[[int], bool]
) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the entries of a cache folder with matching names and file types; links never match."""
    folder = cache.path / name
    if not os.path.lexists(folder):
        return
    if reason := explain_distrust(folder):
        raise CacheError(reason, hint=f"look at what is in there, then remove {folder}")
    for path in sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name)):
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if accepts_mode(status.st_mode):
                yield path, status


def _read_image_kernel(path: Path) -> str:
    data = read_trusted(path)
    with contextlib.suppress(ImageError):
        return decode(data).kernel if data is not None else ""
    return ""


def _read_types_kernel(path: Path) -> str:
    origin = read_trusted(path / _ORIGIN)
    if origin is not None:
        return origin.decode(errors="replace")
    with contextlib.suppress(OSError):  # where a package is joined from two, a link to the package's
        match = _RELEASE.search((path / "include/generated/utsrelease.h").read_text(errors="replace"))
        return match[1] if match else ""
    return ""


def _total_size(path: Path) -> int:
    """Return the total size of all files below, in bytes; links are not followed."""
    total = 0
    for folder, _, files in os.walk(path):
        for file in files:
            with contextlib.suppress(OSError):
                total += Path(folder, file).lstat().st_size
    return total
