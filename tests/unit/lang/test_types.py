"""Test C types by name against a compiler's."""

from __future__ import annotations

import subprocess

import pytest

from pytracer.lang.types import basic
from support.compilers import compile_files

KNOWN = (
    *("char", "signed char", "unsigned char", "short", "unsigned short int", "int", "signed", "signed int"),
    *("unsigned", "long", "unsigned long", "long unsigned int", "long long int", "long long unsigned"),
    *("size_t", "ssize_t", "ptrdiff_t", "intptr_t", "uintptr_t", "pid_t", "uid_t", "gid_t", "mode_t"),
    *("off_t", "loff_t", "time_t", "ushort", "uint", "ulong", "socklen_t"),
    *(f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *(f"__{sign}{bits}" for sign in "us" for bits in (8, 16, 32, 64)),
    *(f"__{order}{bits}" for order in ("be", "le") for bits in (16, 32, 64)),
)
HEADERS = ("linux/types.h", "stddef.h", "stdint.h", "stdio.h", "sys/socket.h", "sys/types.h")


def test_sizes_and_signs_are_those_of_the_compiler(tmp_path):
    includes = "".join(f"#include <{header}>\n" for header in HEADERS)
    lines = "".join(f'printf("%zu %d\\n", sizeof({text}), ({text})-1 < 0);\n' for text in KNOWN)
    source = f"#define _GNU_SOURCE\n{includes}int main(void) {{ {lines} return 0; }}\n"
    program = compile_files(tmp_path, {"types.c": source}, "-fsigned-char")  # as it is taken to be everywhere
    message = subprocess.run([program], stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    kinds = {text: basic(tuple(text.split())) for text in KNOWN}
    actual = {text: f"{kind.size} {kind.signed:d}" for text, kind in kinds.items()}
    assert actual == dict(zip(KNOWN, message, strict=True))
    assert [text for text, kind in kinds.items() if kind.char] == ["char"]


@pytest.mark.parametrize(
    "text", ["signed unsigned", "char int", "short long", "int int", "long long long", "struct", "x"]
)
def test_invalid_types(text):
    assert basic(tuple(text.split())) is None
