"""Find shared libraries by their usual names: ``libc``, ``libssl.so.3``.

Where they are is what the dynamic linker would say: its cache (/etc/ld.so.cache, as ldconfig writes it), then
the folders that it always looks into.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator

from pytracer.budget import Account, OverBudgetError, current
from pytracer.procfs import living
from pytracer.symbols import owners
from pytracer.symbols.root import Root

CACHE = "/etc/ld.so.cache"
_MAGIC = b"glibc-ld.so.cache1.1"
_HEAD = struct.Struct("=20sII20x")  # magic, entries, bytes of strings
_ENTRY = struct.Struct("=iIIIQ")  # flags, name, path, version of the system, capabilities of the CPU
_LONGEST = 4096  # PATH_MAX
_FOLDERS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")


def is_called(name: str, file: str) -> bool:
    """Return whether a file name is that of the library ``name``: exactly, or without its version.

    ``libc`` is libc.so.6 as well as libc-2.31.so and musl's libc.musl-x86_64.so.1.
    """
    if file == name or (".so" in name and file.startswith(name + ".")):
        return True
    return ".so" not in name and bool(re.fullmatch(_version_pattern(name), file))


def find(name: str, root: Root) -> Iterator[str]:
    """Return the paths of libraries with a name, the dynamic linker's own choice first."""
    with contextlib.suppress(OSError, OverBudgetError):
        for library, path in _iter_cached(root):
            if is_called(name, library):
                yield path
    for folder in _FOLDERS:
        with contextlib.suppress(OSError, OverBudgetError):
            yield from (f"{folder}/{file}" for file in _list_matching(name, root, folder))


def names(root: Root) -> set[str]:
    """Return the names of the libraries in the dynamic linker's cache."""
    library_names = set[str]()
    with contextlib.suppress(OSError, OverBudgetError):
        for name, _ in _iter_cached(root):
            library_names.add(name)
    return library_names


def _iter_cached(root: Root) -> Iterator[tuple[str, str]]:
    """Yield (name, path) of the dynamic linker's cache, charged to the owner of the root. Raises OSError,
    OverBudgetError."""
    account = _charge_root(root)
    with account.timed():
        for name, path in entries(root.read(CACHE)):
            account.check()
            if root.pid:
                account.charge(entries=1, memory=len(name) + len(path))
            yield name, path


def _list_matching(name: str, root: Root, folder: str) -> list[str]:
    """Return the matching files in a folder, sorted. Raises OSError, OverBudgetError."""
    account = _charge_root(root)
    file_names = list[str]()
    process_name = living(root.pid) if root.pid else "self"
    with account.timed(), os.scandir(f"/proc/{process_name}/root{folder}") as files:
        for file in files:
            account.check()
            if is_called(name, file.name):
                file_names.append(file.name)
    return sorted(file_names)


def _charge_root(root: Root) -> Account:
    """Return the account that pays for reading a root: the process's user, or the system for ours."""
    credentials = owners.credentials(root.pid) if root.pid else None
    return (
        owners.account(current(), root.pid, credentials)
        if credentials
        else current().account(0, "this system")
    )


def entries(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield (name, path) of a cache of the dynamic linker; nothing if ``data`` is something else.

    A cache in the old format may precede it in the same file, for linkers that know only that.
    """
    start = data.find(_MAGIC)
    if start < 0 or start + _HEAD.size > len(data):
        return
    _, count, _ = _HEAD.unpack_from(data, start)
    for number in range(count):
        offset = start + _HEAD.size + number * _ENTRY.size
        if offset + _ENTRY.size > len(data):
            return
        _, name, path, _, _ = _ENTRY.unpack_from(data, offset)
        yield _read_string(data, start + name), _read_string(data, start + path)


def _version_pattern(name: str) -> str:
    return rf"{re.escape(name)}(-[\d.]+|\.musl-\w+)?\.so(\.[\w.]+)?"


def _read_string(data: bytes, start: int) -> str:
    """Return a string that ends within a path's length; else "": a cache of 16 MB could name thousands as
    long."""
    end = data.find(b"\0", start, start + _LONGEST)
    return os.fsdecode(data[start:end]) if end >= 0 else ""
