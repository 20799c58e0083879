"""Sealed cache folders: complete or absent. Each has a list of its files with their digests.

A start trusts a folder only as far as its list agrees: after an emptied or damaged header, a folder or FIFO
in place of a file, or an extra file, it is made again. (Some of these make clang crash.)

See "Images" in docs/internals.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from pytracer.bpf.cache.directory import CacheDir, explain_distrust, private_folder, read_trusted, remove
from pytracer.bpf.digest import sha256
from pytracer.errors import HeadersError

LIST = "files.json"
_MANY = 1000  # files, from which on flushing the whole file system is quicker than each
_DIGESTED = 1 << 24  # bytes, up to which contents are compared; beyond, sizes are


class HeadersWriteError(HeadersError):
    """There are kernel types, but they cannot be written where the compiler reads them."""


def load_or_create(cache: CacheDir, folder: str, name: str, fill: Callable[[Path], None]) -> Path:
    """Return the folder of this name in a folder of the cache; if it is not whole, make it with ``fill``, or
    make one in a private folder if the cache is not writable. Raises HeadersError, CacheError."""
    path = cache.path / folder / name
    if is_intact(path):
        return path
    path = cache.work_folder(folder) / name
    try:
        publish(path, fill)
    except HeadersError:  # something in its place cannot be removed
        elsewhere = private_folder(folder) / name
        if elsewhere == path:
            raise
        path = elsewhere
        publish(path, fill)
    return path


def publish(path: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder with ``fill`` under a temporary name, flush it to the disk, and rename it.

    If another process was faster and its folder is whole, that one stays. Raises HeadersWriteError.
    """
    try:
        new = Path(tempfile.mkdtemp(dir=path.parent, prefix=".new-"))
    except OSError as error:
        raise HeadersWriteError(f"cannot put kernel types into {path.parent}: {error.strerror}") from error
    try:
        fill(new)
        entries = _list_entries(new)
        has_digests = sum(size for _, size, _ in entries.values()) <= _DIGESTED
        manifest = {
            name: [*entry[:2], _compute_digest(new / name, entry) if has_digests else ""]
            for name, entry in entries.items()
        }
        text = json.dumps(manifest, separators=(",", ":"))
        (new / LIST).write_text(sha256(text.encode()).hexdigest() + "\n" + text)
        _flush(new, len(entries))
        _rename_into_place(new, path)
    except OSError as error:
        raise HeadersWriteError(f"cannot put kernel types into {path}: {error.strerror}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def is_intact(path: Path) -> bool:
    """Return True for a trusted folder with exactly the files that were written."""
    if explain_distrust(path):
        return False
    data = read_trusted(path / LIST)
    if data is None:
        return False
    digest, _, text = data.partition(b"\n")
    if sha256(text).hexdigest().encode() != digest:
        return False
    try:
        manifest = json.loads(text)
        entries = _list_entries(path)
        del entries[LIST]
        return entries.keys() == manifest.keys() and all(
            list(entry[:2]) == manifest[name][:2]
            and (not manifest[name][2] or _compute_digest(path / name, entry) == manifest[name][2])
            for name, entry in entries.items()
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return False


def _rename_into_place(new: Path, path: Path) -> None:
    with contextlib.suppress(OSError):
        new.rename(path)
        _fsync(path.parent)
    if not is_intact(path):  # something unusable is in its place
        remove(path)
        new.rename(path)
        _fsync(path.parent)


def _list_entries(folder: Path) -> dict[str, tuple[str, int, str]]:
    """Return the kind, size and link target of each file and link below a folder. Raises OSError."""
    by_path = dict[str, tuple[str, int, str]]()
    pending = [""]
    while pending:
        directory = pending.pop()
        with os.scandir(folder / directory) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                name = f"{directory}{entry.name}"
                if stat.S_ISDIR(status.st_mode):
                    pending.append(f"{name}/")
                elif stat.S_ISLNK(status.st_mode):
                    by_path[name] = "link", status.st_size, str(Path(entry.path).readlink())
                else:
                    kind = "file" if stat.S_ISREG(status.st_mode) else "other"
                    by_path[name] = kind, status.st_size, ""
    return by_path


def _compute_digest(path: Path, entry: tuple[str, int, str]) -> str:
    """Return the digest of a file's content, or a link's target. Raises OSError."""
    kind, size, target = entry
    if kind != "file":
        return target
    if not size:
        return ""
    data = read_trusted(path)
    return sha256(data).hexdigest() if data is not None else "?"


def _flush(folder: Path, count: int) -> None:
    """Flush the folder to the disk before it gets its name: otherwise a power cut may leave empty files."""
    if count > _MANY:
        os.sync()
        return
    for path in _iter_paths(folder):
        _fsync(path)


def _iter_paths(folder: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(directory, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_size:
                yield path
        yield Path(directory)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
