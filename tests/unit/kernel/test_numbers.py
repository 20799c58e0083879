"""Test the system call numbers in C files against the tables of all ABIs."""

from __future__ import annotations

import re

import pytest

from pytracer.bpf.compile.source import probes_folder
from pytracer.kernel import syscalls

pytestmark = pytest.mark.skipif(not syscalls.have_names(), reason="libseccomp.so.2 is not installed")
ABIS = ("x86_64", "i386", "aarch64", "arm")
NUMBER = r",\s*(-?\d+)"
LINE = re.compile(rf"PT_IS\(\s*call,\s*(\w+){NUMBER * 4}\s*\)")


def lines():
    headers = [probes_folder() / "include" / name for name in ("filecalls.h", "fsops.h")]
    for path in (*sorted(probes_folder().glob("*.c")), *headers):
        text = path.read_text()
        matches = LINE.findall(text)
        assert len(matches) == text.count("PT_IS(")
        for name, *numbers in matches:
            yield pytest.param(name, [*map(int, numbers)], id=f"{path.stem}-{name}")


@pytest.mark.parametrize(("name", "numbers"), [*lines()])
def test_numbers_are_those_of_the_tables(name, numbers):
    table = [syscalls.number_of(abi, name) for abi in ABIS]
    assert numbers == [-1 if number is None else number for number in table]
