"""Folders of the cache that are whole or not there: each lists its files, and what is in them.

A start trusts what an earlier one wrote only as far as the list says: an emptied or damaged header, a folder
or FIFO in its place, a file too many, and the folder is made anew. (clang dies of some, without a word.)

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

from pytracer.bpf.cache.directory import CacheDir, distrust, private_folder, read_trusted, remove
from pytracer.bpf.digest import sha256
from pytracer.errors import HeadersError

LIST = "files.json"
_MANY = 1000  # files, from which on flushing the whole file system is quicker than each
_DIGESTED = 1 << 24  # bytes, up to which contents are compared; beyond, sizes are


def load_or_create(cache: CacheDir, folder: str, name: str, fill: Callable[[Path], None]) -> Path:
    """The folder of this name in a folder of the cache, if it is whole; else made now, with ``fill``: there,
    or in a private folder where that cannot be done. Raises HeadersError, CacheError."""
    path = cache.path / folder / name
    if is_whole(path):
        return path
    path = cache.work_folder(folder) / name
    try:
        publish(path, fill)
    except HeadersError:  # something in its place that does not go away
        elsewhere = private_folder(folder) / name
        if elsewhere == path:
            raise
        path = elsewhere
        publish(path, fill)
    return path


def publish(path: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder aside with ``fill``, on the disk in full, and give it its name.

    Who comes second leaves the one that is there, if that is whole. Raises HeadersError.
    """
    try:
        new = Path(tempfile.mkdtemp(dir=path.parent, prefix=".new-"))
    except OSError as error:
        raise HeadersError(f"cannot put kernel types into {path.parent}: {error.strerror}") from error
    try:
        fill(new)
        entries = _entries(new)
        digested = sum(size for _, size, _ in entries.values()) <= _DIGESTED
        listed = {
            name: [*entry[:2], _digest(new / name, entry) if digested else ""]
            for name, entry in entries.items()
        }
        text = json.dumps(listed, separators=(",", ":"))
        (new / LIST).write_text(sha256(text.encode()).hexdigest() + "\n" + text)
        _flush(new, len(entries))
        _give_name(new, path)
    except OSError as error:
        raise HeadersError(f"cannot put kernel types into {path}: {error.strerror}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def is_whole(path: Path) -> bool:
    """True for a folder that can be trusted, with all of its files as they were written, and no others."""
    if distrust(path):
        return False
    data = read_trusted(path / LIST)
    if data is None:
        return False
    digest, _, text = data.partition(b"\n")
    if sha256(text).hexdigest().encode() != digest:
        return False
    try:
        listed = json.loads(text)
        found = _entries(path)
        del found[LIST]
        return found.keys() == listed.keys() and all(
            list(entry[:2]) == listed[name][:2]
            and (not listed[name][2] or _digest(path / name, entry) == listed[name][2])
            for name, entry in found.items()
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return False


def _give_name(new: Path, path: Path) -> None:
    with contextlib.suppress(OSError):
        new.rename(path)
        _flush_one(path.parent)
    if not is_whole(path):  # something is there that cannot be used
        remove(path)
        new.rename(path)
        _flush_one(path.parent)


def _entries(folder: Path) -> dict[str, tuple[str, int, str]]:
    """Of each file and link below: what it is, its size, and where a link leads. Raises OSError."""
    found = dict[str, tuple[str, int, str]]()
    left = [""]
    while left:
        below = left.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                name = f"{below}{entry.name}"
                if stat.S_ISDIR(status.st_mode):
                    left.append(f"{name}/")
                elif stat.S_ISLNK(status.st_mode):
                    found[name] = "link", status.st_size, str(Path(entry.path).readlink())
                else:
                    kind = "file" if stat.S_ISREG(status.st_mode) else "other"
                    found[name] = kind, status.st_size, ""
    return found


def _digest(path: Path, entry: tuple[str, int, str]) -> str:
    """What tells contents apart. Raises OSError."""
    kind, size, target = entry
    if kind != "file":
        return target
    if not size:
        return ""
    data = read_trusted(path)
    return sha256(data).hexdigest() if data is not None else "?"


def _flush(folder: Path, count: int) -> None:
    """Have the disk take all of it before it gets its name: a power cut would else leave files empty."""
    if count > _MANY:
        os.sync()
        return
    for path in _all(folder):
        _flush_one(path)


def _all(folder: Path) -> Iterator[Path]:
    for below, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(below, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_size:
                yield path
        yield Path(below)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
