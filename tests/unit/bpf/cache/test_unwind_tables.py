"""Test that unwind tables are kept, and that nobody else's are used."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pytracer.bpf.cache import entries, unwind_tables
from pytracer.bpf.cache.directory import CacheDir, cache_dir
from pytracer.symbols import elf_tables
from pytracer.symbols.unwind import table

LIBC = Path("/usr/lib/x86_64-linux-gnu/libc.so.6").resolve()


@pytest.fixture
def cache(monkeypatch, tmp_path) -> CacheDir:
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path / "cache"))
    return cache_dir()


def build(path=LIBC):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return table.build(elf_tables.read(descriptor), unwind_tables.open_cache())
    finally:
        os.close(descriptor)


@pytest.fixture
def builds(monkeypatch):
    """Count how many tables are built."""
    counted = []
    build_rows = table._build_rows
    monkeypatch.setattr(table, "_build_rows", lambda *args: counted.append(1) or build_rows(*args))
    return counted


def test_a_table_is_kept(cache, builds):
    first = build()
    second = build()
    assert len(builds) == 1
    assert (first.base, first.build_id) == (second.base, second.build_id)
    assert second.rows.dtype == table.ROW
    assert (first.rows == second.rows).all()
    [entry] = entries.list_entries(cache)
    assert (entry.kind, entry.name) == ("unwind", LIBC.name)
    assert entry.size > first.nbytes
    assert entries.clear(cache) == [entry]
    build()
    assert len(builds) == 2


def test_a_file_with_the_build_id_of_another_has_its_own_table(cache, builds, tmp_path):
    kept = build()
    data = np.frombuffer(LIBC.read_bytes(), np.uint8).copy()
    descriptor = os.open(LIBC, os.O_RDONLY)
    section = elf_tables.read(descriptor).section(b".eh_frame")
    os.close(descriptor)
    at = int(section["offset"]) + int(section["size"]) // 2
    part = data[at : at + 4096]
    part[part == 0x0E] = 0x0D  # def_cfa_offset to def_cfa_register
    forged = tmp_path / LIBC.name
    forged.write_bytes(data)
    built = build(forged)
    assert built.build_id == kept.build_id
    assert len(builds) == 2
    assert built.rows.tobytes() != kept.rows.tobytes()
    assert (build().rows == kept.rows).all()


@pytest.mark.parametrize("damage", ["end", "byte", "head", "empty", "writable"])
def test_damaged_files_are_made_again(cache, builds, damage):
    expected = build().rows
    [path] = (cache.path / "unwind").iterdir()
    data = bytearray(path.read_bytes())
    data[{"byte": 5000, "head": 3}.get(damage, 0)] ^= damage in ("byte", "head")
    path.write_bytes(b"" if damage == "empty" else data[:-8] if damage == "end" else data)
    if damage == "writable":
        path.chmod(0o666)
    assert (build().rows == expected).all()
    assert len(builds) == 2
    assert (build().rows == expected).all()
    assert len(builds) == 2


def test_the_oldest_are_removed(cache, monkeypatch):
    kept = unwind_tables.UnwindTableCache(cache)
    rows = np.zeros(5000, table.ROW)
    monkeypatch.setattr(unwind_tables, "MAX_BYTES", 3 * 41_000)
    for number in range(5):
        kept.store("../x y", bytes((number,)), rows)
        for age, path in enumerate(sorted((cache.path / "unwind").iterdir(), key=os.path.getmtime)):
            os.utime(path, (1000 * number + age,) * 2)
    assert len(list((cache.path / "unwind").iterdir())) == 3
    assert kept.load("../x y", b"\x04") is not None
    assert kept.load("../x y", b"\x00") is None
    assert all(entry.name == ".._x_y" for entry in entries.list_entries(cache))


def test_small_tables_are_not_kept(cache, builds, monkeypatch):
    monkeypatch.setattr(unwind_tables, "_MIN_ROWS", 4096)
    build("/usr/bin/true")
    build("/usr/bin/true")
    assert len(builds) == 2
    assert not (cache.path / "unwind").exists()
