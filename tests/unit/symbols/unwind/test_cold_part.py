"""Test that the part of a function that a compiler has put elsewhere is found, without symbols."""

from __future__ import annotations

import os
import subprocess

import pytest

from pytracer.symbols import elf_tables
from pytracer.symbols.unwind.cold_part import find_cold_part
from support.compilers import compile_files

CASES = "".join(f"if (n == {7 * case}) {{ report({case}); n = use(n); }}\n" for case in range(8))
C = f"""
#include <stdio.h>
__attribute__((cold, noinline)) void report(int n) {{ printf("%d\\n", n); }}
__attribute__((noinline)) int use(int n) {{ return n * 3 + getchar(); }}
__attribute__((noinline)) int work(int n) {{ {CASES} return use(n); }}
__attribute__((noinline)) int plain(int n) {{ return use(n) + 1; }}
int main(int argc, char **argv) {{ return work(argc) + plain(argc); }}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compile_files(tmp_path_factory.mktemp("cold"), {"program.c": C}, "-O2")


def symbol(program, name):
    """Return start and size of a function, as binutils say."""
    output = subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True).stdout
    for line in output.splitlines():
        if line.endswith(f" {name}"):
            return int(line.split()[0], 16), int(line.split()[1], 16)
    raise AssertionError(output)


def find(path, start, size):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return find_cold_part(elf_tables.read(descriptor), start, size)
    finally:
        os.close(descriptor)


def test_it_is_where_the_symbol_is_that_stripping_removes(program, tmp_path):
    start, size = symbol(program, "work.cold")
    place = symbol(program, "work")
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", stripped, program], check=True)
    assert find(program, *place) == find(stripped, *place) == (start, start + size)


def test_a_function_without_one_has_none(program):
    assert find(program, *symbol(program, "plain")) == (0, 0)


def test_a_place_outside_of_the_file_has_none(program):
    assert find(program, 1 << 40, 16) == (0, 0)
    assert find(program, symbol(program, "work")[0], 1 << 30) == (0, 0)
