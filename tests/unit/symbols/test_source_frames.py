"""Test which functions are inlined at an address, against addr2line."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from pytracer.budget import Budget, Limits
from pytracer.symbols import elf_tables
from pytracer.symbols.source_frames import SourceFile
from support.workloads import SOURCES

FORMS = {
    "DWARF 5": ("inlined.c", ["-g"]),
    "DWARF 4": ("inlined.c", ["-g", "-gdwarf-4"]),
    "split": ("inlined.c", ["-g", "-gsplit-dwarf"]),
    "without a table of ranges": ("inlined.c", ["-g"]),
    "C++": ("returns.cpp", ["-g", "-std=c++17"]),
    "Rust": ("returns.rs", ["-g"]),  # a large unit of its library, in which no entry has a sibling
}


def compile_form(name, folder):
    source, flags = FORMS[name]
    path = folder / "program"
    compiler = {".c": ["gcc", "-O2"], ".cpp": ["g++", "-O2"], ".rs": ["rustc", "-O"]}[Path(source).suffix]
    subprocess.run([*compiler, *flags, "-o", path, SOURCES / source], check=True, cwd=folder)
    if "table of ranges" in name:
        subprocess.run(["objcopy", "--remove-section", ".debug_aranges", path], check=True)
    return path


def code_addresses(path):
    """Return every address of the code of functions that the source has."""
    text = subprocess.run(["nm", "-S", path], capture_output=True, text=True, check=True).stdout
    symbols = [line.split() for line in text.splitlines()]
    spans = [(int(s[0], 16), int(s[1], 16)) for s in symbols if len(s) == 4 and s[2] in "tTW"]
    return [address for start, size in spans for address in range(start, start + size)]


def witness(path, addresses):
    """Return the functions that addr2line has for each address, the innermost first."""
    lines = subprocess.run(
        ["addr2line", "-a", "-f", "-i", "-e", path],
        input="\n".join(map(hex, addresses)), capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    functions = list[list[str]]()
    is_name = False
    for line in lines:
        if line.startswith("0x"):
            functions.append([])
            is_name = True
            continue
        if is_name:
            functions[-1].append(line)
        is_name = not is_name
    return [tuple(names) for names in functions]


@pytest.fixture
def source():
    descriptors = list[int]()

    def open_source(path, budget=None):
        descriptors.append(os.open(path, os.O_RDONLY))
        account = (budget or Budget()).account(os.geteuid(), "a test")
        return SourceFile(elf_tables.read(descriptors[-1], account))

    yield open_source
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.mark.parametrize("name", FORMS)
def test_inlined_functions_are_those_of_addr2line(name, source, tmp_path):
    path = compile_form(name, tmp_path)
    addresses = code_addresses(path)
    assert len(addresses) > 100
    addresses = random.Random(name).sample(addresses, min(len(addresses), 2000))
    file = source(path)
    found = [file.inlined(address) for address in addresses]
    if name == "split":  # addr2line reads none of DWARF 5; the code is the same
        path = compile_form("DWARF 5", tmp_path)
        assert set(code_addresses(path)) >= set(addresses)
    shown = witness(path, addresses)
    # binutils 2.40 names the outer function twice at an address of the C++ program, llvm-symbolizer does not.
    wrong = [index for index, names in enumerate(shown) if names[-2:-1] == names[-1:]]
    assert len(wrong) <= (name == "C++")
    for index in wrong:
        shown[index] = (*found[index], "")
    assert found == [names[:-1] for names in shown]
    assert any(len(functions) > 1 for functions in found) or name == "C++"


def test_a_stripped_file_has_none(source, tmp_path):
    path = compile_form("DWARF 5", tmp_path)
    subprocess.run(["strip", path], check=True)
    assert source(path).inlined(0x1200) == ()


def test_damaged_debug_information_counts_as_missing(source, tmp_path):
    path = compile_form("DWARF 5", tmp_path)
    for section in ("info", "abbrev", "rnglists", "aranges"):
        damaged = tmp_path / section
        shutil.copy(path, damaged)
        garbage = tmp_path / "garbage"
        garbage.write_bytes(random.Random(section).randbytes(4096))
        words = ["--update-section", f".debug_{section}={garbage}", damaged]
        subprocess.run(["objcopy", *words], check=True, capture_output=True)
        file = source(damaged)
        for address in range(0x1000, 0x1400, 7):
            assert all(isinstance(function, str) for function in file.inlined(address))


def test_a_budget_bounds_what_is_read(source, tmp_path):
    limits = Limits(cpu=5, share=0, wait=1, memory=1 << 20, entries=60)
    warnings = list[str]()
    budget = Budget(user=limits, run=limits)
    budget.listen(warnings.append)
    file = source(compile_form("DWARF 5", tmp_path), budget)
    assert [file.inlined(address) for address in range(0x1000, 0x1400, 16)] == [()] * 64
    assert len(warnings) == 1
