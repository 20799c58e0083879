"""Test unwind tables against what readelf says about whole files."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from pytracer.budget import OverBudgetError
from pytracer.symbols import elf_tables
from pytracer.symbols.elf_tables import ElfError
from pytracer.symbols.unwind import files, table
from pytracer.symbols.unwind.table import RBP_AT_ITSELF, ROW, Rule
from support import readelf_frames
from support.budgets import UID, budget_with
from support.compilers import compile_files

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
EXPRESSIONS = Rule.DEREF_RBP, Rule.SAVED_RSP, Rule.PLT, Rule.SIGNAL, Rule.EXPRESSION

C = """
#include <alloca.h>
#include <string.h>
typedef double wide __attribute__((vector_size(32)));
__attribute__((noinline)) void use(void *p, wide w) { *(volatile char *) p = w[0]; }
__attribute__((noinline)) void realigned(int n)
{
    wide w __attribute__((aligned(64)));
    memset(&w, n, sizeof(w));
    use(alloca(n), w);
    use(&w, w);
}
__attribute__((noinline)) void dynamic(int n) { char array[n]; use(array, (wide) {}); }
__attribute__((noinline)) int early(int n)
{
    char a[9999];
    if (n < 2)
        return 1;
    use(a, (wide) {});
    return a[n];
}
int main(int argc, char **argv) { realigned(argc); dynamic(argc); return early(argc); }
"""
CC = """
#include <stdexcept>
#include <string>
#include <vector>
struct Guard { std::string s; ~Guard() { if (s.size() > 5) throw_away(); } void throw_away(); };
void Guard::throw_away() { s.clear(); }
int deep(int n)
{
    Guard g{std::string(n, 'x')}; if (n > 3) throw std::runtime_error(g.s);
    return deep(n + 1) + 1;
}
int main(int argc, char **) { try { return deep(argc); } catch (std::exception &e) { return 1; } }
"""
RUST = """
fn main() {
    let names: Vec<String> = std::env::args().map(|name| name.to_uppercase()).collect();
    println!("{names:?}");
}
"""
GO = "package main\nfunc main() { println(len(make([]int, 10))) }\n"


def build(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return table.build(elf_tables.read(descriptor))
    finally:
        os.close(descriptor)


def build_bytes(data, account=None):
    memory = os.memfd_create("test")
    try:
        os.write(memory, data)
        return table.build(elf_tables.read(memory, account))
    finally:
        os.close(memory)


def assert_same(path):
    """Compare a file's table with readelf's rows; readelf does not say what an expression is."""
    built = build(path)
    expected = readelf_frames.read(Path(path), built.base)
    ours = built.rows[np.searchsorted(built.rows["start"], expected["start"], side="right") - 1]
    ours["start"] = expected["start"]
    by_expression = expected["rule"] == readelf_frames.ANY_EXPRESSION
    assert np.isin(ours["rule"][by_expression], EXPRESSIONS).all()
    assert (ours == expected)[~by_expression].all()
    assert np.isin(built.rows["start"], expected["start"]).all()  # and none besides
    assert_ordered(built)
    return built


def assert_ordered(built):
    rows = built.rows
    assert rows.dtype == ROW
    assert (np.diff(rows["start"].astype(np.int64)) > 0).all()
    assert rows[0]["start"] == 0
    assert (rows["rule"] <= Rule.NONE).all()
    has_operands = (rows["rule"] >= Rule.RSP) & (rows["rule"] <= Rule.PLT) | (rows["rule"] == Rule.REGISTER)
    assert not (rows["cfa_offset"] | rows["rbp"])[~has_operands].any()


def count(built, rule):
    return np.count_nonzero(built.rows["rule"] == rule)


@pytest.mark.parametrize(
    "path",
    [
        LIBRARIES / "libc.so.6",
        LIBRARIES / "libstdc++.so.6",
        LIBRARIES / "libcrypto.so.3",
        Path("/usr/bin/python3"),
        Path("/lib64/ld-linux-x86-64.so.2"),
    ],
    ids=lambda path: path.name,
)
def test_tables_are_what_readelf_shows(path):
    built = assert_same(path.resolve())
    assert count(built, Rule.RSP) > 1000
    assert built.rows[-1]["rule"] == Rule.NONE


def test_libc_has_a_signal_frame_and_lazy_plt():
    built = build(LIBRARIES / "libc.so.6")
    assert count(built, Rule.SIGNAL) == 1
    assert built.rows["cfa_offset"][built.rows["rule"] == Rule.PLT].tolist() == [11]
    assert count(built, Rule.END) >= 1  # clone


def test_a_realigned_frame_is_found_by_the_word_below_rbp(tmp_path):
    built = assert_same(compile_files(tmp_path, {"program.c": C}, "-O2", "-mavx"))
    realigned = built.rows[built.rows["rule"] == Rule.DEREF_RBP]
    assert set(zip(realigned["cfa_offset"].tolist(), realigned["rbp"].tolist(), strict=True)) == {
        (1, RBP_AT_ITSELF)
    }
    assert count(built, Rule.REGISTER)  # its first instructions
    assert count(built, Rule.END) == 1  # _start
    assert count(built, Rule.RBP)


@pytest.mark.parametrize(
    ("sources", "options"),
    [
        ({"program.cc": CC}, ("-O2", "-g")),
        ({"program.c": C}, ("-O2", "-static", "-s")),
        ({"program.c": C}, ("-O2", "-fno-omit-frame-pointer", "-no-pie", "-Wl,-z,noseparate-code")),
        ({"program.rs": RUST}, ()),
    ],
    ids=["exceptions", "static", "fixed", "rust"],
)
def test_compiled_programs(tmp_path, sources, options):
    assert_same(compile_files(tmp_path, sources, *options))


@pytest.mark.parametrize("packing", ["none", "zlib"])
def test_debug_frame_serves_where_there_is_nothing_else(tmp_path, packing):
    options = ("-O2", "-mavx", "-g", "-fno-asynchronous-unwind-tables", f"-gz={packing}")
    program = compile_files(tmp_path, {"program.c": C}, *options)
    built = assert_same(program)
    assert count(built, Rule.DEREF_RBP)  # of a function
    assert count(built, Rule.END) == 1  # _start has an entry in .eh_frame


def test_files_without_section_headers():
    data = bytearray((LIBRARIES / "libc.so.6").read_bytes())
    whole = build_bytes(data)
    struct.pack_into("<Q", data, 40, 0)  # e_shoff
    struct.pack_into("<HH", data, 60, 0, 0)  # e_shnum, e_shstrndx
    stripped = build_bytes(data)
    assert stripped.base == whole.base
    assert (stripped.rows == whole.rows).all()


def test_go_has_frame_pointers(tmp_path):
    program = compile_files(tmp_path, {"program.go": GO})
    assert build(program).rows.tolist() == [(0, 0, 0, Rule.NONE)]


def test_the_vdso():
    code, rows = files.read_vdso_table()
    built = table.UnwindTable("", code.base, rows)
    assert_ordered(built)
    assert count(built, Rule.RSP)
    assert code.row_start(0) == 0


def test_other_machines_are_refused():
    data = bytearray(Path("/usr/bin/python3").read_bytes())
    struct.pack_into("<H", data, 18, 183)  # EM_AARCH64
    with pytest.raises(ElfError, match="x86-64"):
        build_bytes(data)


def test_tables_are_charged():
    data = (LIBRARIES / "libc.so.6").read_bytes()
    account = budget_with(memory=8 << 20).account(UID, "libc")
    before = account.left("memory")
    built = build_bytes(data, account)
    assert before - account.left("memory") == built.nbytes
    account = budget_with(memory=1 << 16).account(UID, "libc")
    with pytest.raises(OverBudgetError):
        build_bytes(data, account)


def test_damaged_files(tmp_path):
    program = compile_files(tmp_path, {"program.c": C}, "-O2", "-mavx", "-g")
    original = program.read_bytes()
    descriptor = os.open(program, os.O_RDONLY)
    tables = elf_tables.read(descriptor)
    section, sections = tables.section(b".eh_frame"), len(tables.sections)
    os.close(descriptor)
    [table_at] = struct.unpack_from("<Q", original, 40)  # e_shoff
    header_places = np.concatenate([np.arange(16, 64 + 13 * 56), table_at + np.arange(64 * sections)])
    places = np.arange(int(section["offset"]), int(section["offset"]) + int(section["size"]))
    generator = np.random.default_rng(23)
    outcomes = {"built": 0, "refused": 0}
    for round_number in range(300):
        data = np.frombuffer(original, np.uint8).copy()
        flipped = generator.choice(places, generator.integers(1, 40))
        data[flipped] = generator.integers(0, 256, len(flipped))
        if round_number % 3 == 0:
            headers = generator.choice(header_places, 3)
            data[headers] = generator.integers(0, 256, 3)
        try:
            built = build_bytes(data.tobytes())
        except ElfError:
            outcomes["refused"] += 1
            continue
        outcomes["built"] += 1
        assert_ordered(built)
        assert len(built.rows) < 10_000
    assert outcomes["built"] > 150, outcomes
