"""Measure the CPU time that the unwind table of a large library takes, made and found in the cache."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import MissingPeerError, Result, in_turns, result
from bench.peers import find
from pytracer.bpf.cache.directory import CacheDir
from pytracer.bpf.cache.unwind_tables import UnwindTableCache
from pytracer.symbols import elf_tables
from pytracer.symbols.unwind import table

READELF = "readelf --debug-dump=frames-interp"
_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")
_NAMES = ("libLLVM*.so*", "libpython3*.so*", "libc.so.6")


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure the table of the first library that is installed."""
    try:
        readelf, path = find("readelf"), _find_library()
        with tempfile.TemporaryDirectory(prefix="pytracer-bench-") as folder:
            cache = UnwindTableCache(CacheDir(Path(folder)))
            rows = _build(path, cache)[1]
            made, found, peer = in_turns(
                rounds,
                lambda: _build(path, None)[0],
                lambda: _build(path, cache)[0],
                lambda: _read(readelf, path),
            )
    except MissingPeerError as missing:
        yield missing
        return
    note = f"{path.stat().st_size >> 20} MiB, {rows:,} rows"
    yield result(
        "unwind-made",
        f"the unwind table of `{path.name}`",
        READELF,
        made,
        peer,
        target=1.0,
        unit="s",
        note=note,
    )
    yield result(
        "unwind-found", "the same in the cache", READELF, found, peer, target=0.1, unit="s"
    )  # fmt: skip


def _find_library() -> Path:
    for name in _NAMES:
        for folder in _FOLDERS:
            for path in sorted(Path(folder).glob(name)):
                return path.resolve()
    raise MissingPeerError("unwind: no library is installed where this machine's are")


def _build(path: Path, cache: UnwindTableCache | None) -> tuple[float, int]:
    """Return the CPU seconds, and the number of rows."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        tables = elf_tables.read(descriptor)
        start = time.process_time()
        built = table.build(tables, cache)
        seconds = time.process_time() - start
        tables.account.refund(memory=built.nbytes)
        return seconds, len(built.rows)
    finally:
        os.close(descriptor)


def _read(readelf: str, path: Path) -> float:
    command = [readelf, "--debug-dump=frames-interp", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime
