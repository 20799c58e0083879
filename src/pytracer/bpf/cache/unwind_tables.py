"""Keep unwind tables between runs.

A table is found by a digest of all that it is made of, and of our code. A build id does not do: who writes a
program can give it that of a system library, and would decide how all stacks through that library are walked.
"""

from __future__ import annotations

import contextlib
import functools
import re
import struct
import zlib
from pathlib import Path

from pytracer.arrays import Array, np
from pytracer.bpf.cache import aging
from pytracer.bpf.cache.directory import CacheDir, cache_dir, explain_distrust
from pytracer.bpf.digest import sha256
from pytracer.bpf.identity import file_identity
from pytracer.errors import CacheError

FOLDER = "unwind"
SUFFIX = ".rows"
MAX_FILES = 1024
MAX_BYTES = 256 << 20
_MIN_ROWS = 256  # of a table that is kept: smaller ones are made as quickly as they are read
_HEAD = struct.Struct("<8sQI")  # magic, rows, their CRC
_MAGIC = b"ptunwind"
_UNUSUAL = re.compile(r"[^A-Za-z0-9._+-]")
_NAME_LIMIT = 80


class UnwindTableCache:
    """The kept tables: a :class:`~pytracer.symbols.unwind.table.RowCache`, which is imported late because of
    NumPy."""

    def __init__(self, cache: CacheDir) -> None:
        """Keep tables in a folder of ``cache``."""
        self._cache = cache

    def load(self, name: str, digest: bytes) -> Array | None:
        """Return the rows of that digest if they are whole and nobody else can have written them."""
        from pytracer.symbols.unwind.table import ROW

        if explain_distrust(self._cache.path / FOLDER):
            return None
        path = _path(name, digest)
        data = self._cache.read(path)
        if data is None or len(data) < _HEAD.size:
            return None
        magic, count, checksum = _HEAD.unpack_from(data)
        body = memoryview(data)[_HEAD.size :]
        if magic != _MAGIC or len(body) != count * ROW.itemsize or zlib.crc32(body) != checksum:
            return None
        aging.mark_used(self._cache.path / path)
        return np.frombuffer(body, ROW)

    def store(self, name: str, digest: bytes, rows: Array) -> None:
        """Keep rows. A cache that cannot be written is ignored."""
        if len(rows) < _MIN_ROWS:
            return
        body = rows.tobytes()
        with contextlib.suppress(CacheError, OSError):
            folder = self._cache.folder(FOLDER)
            self._cache.write(_path(name, digest), _HEAD.pack(_MAGIC, len(rows), zlib.crc32(body)) + body)
            aging.prune(folder, SUFFIX, MAX_FILES, MAX_BYTES)


def open_cache() -> UnwindTableCache | None:
    """Return the kept tables of the effective user; None if nothing can be kept."""
    with contextlib.suppress(CacheError):
        cache = cache_dir()
        return None if cache.note else UnwindTableCache(cache)
    return None


def _path(name: str, digest: bytes) -> str:
    key = sha256(_code_identity() + digest).hexdigest()
    return f"{FOLDER}/{_UNUSUAL.sub('_', name)[-_NAME_LIMIT:]}-{key[:32]}{SUFFIX}"


@functools.cache
def _code_identity() -> bytes:
    from pytracer.symbols import unwind

    folder = Path(unwind.__file__).parent
    return "\n".join(file_identity(path) for path in sorted(folder.glob("*.py"))).encode()
