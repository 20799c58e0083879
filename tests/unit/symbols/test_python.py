"""Test where a Python interpreter is found, and how its functions are named."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from pytracer.symbols import elf_tables, python
from pytracer.symbols.python import FUNCTION, FunctionNames, Interpreter

KEY = np.dtype([("pid", "u8"), ("code", "u8")])
VALUE = np.dtype([("line", "u4"), ("name", "S96"), ("file", "S96")])
PYTHON = Path("/usr/bin/python3.11")


def find(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return python.find_interpreter(elf_tables.read(descriptor))
    finally:
        os.close(descriptor)


@pytest.fixture
def names():
    functions = FunctionNames()
    keys = np.array([(7, 0x7F0000001000), (7, 0x7F0000002000), (8, 0x7F0000001000)], KEY)
    values = np.array(
        [(3, b"Worker.work", b"/srv/a/worker.py"), (9, b"", b""), (4, b"other", b"x.py")], VALUE
    )
    functions.add(keys, values)
    return functions


def test_a_function_has_its_name_file_and_line(names):
    assert names.find(7, marked(0x7F0000001000)) == ["Worker.work (worker.py:3)"]
    assert names.find(8, marked(0x7F0000001000)) == ["other (x.py:4)"]


def test_a_function_is_found_by_where_a_call_would_be(names):
    """All frames but the first are looked up one byte before."""
    assert names.find(7, marked(0x7F0000001000) - np.uint64(1)) == ["Worker.work (worker.py:3)"]


def test_what_has_no_name_is_shown_by_its_address(names):
    assert names.find(7, marked(0x7F0000002000)) == ["0x7f0000002000"]
    assert names.find(7, marked(0x7F0000003000)) == ["[python 0x7f0000003000]"]


def marked(*codes):
    return np.array([code | FUNCTION for code in codes], np.uint64)


def test_debians_interpreter_is_found():
    interpreter = find(PYTHON)
    assert interpreter is not None
    assert interpreter.eval_size > 10_000


def test_other_programs_have_none(tmp_path):
    assert find("/usr/bin/env") is None
    other = tmp_path / "python3"
    other.write_bytes(Path("/usr/bin/env").read_bytes())
    assert find(other) is None


@pytest.mark.parametrize(("version", "known"), [(0x030B02F0, True), (0x020700F0, False), (0, False)])
def test_offsets_are_those_of_the_version_in_the_process(version, known):
    """The version is read from memory: here that of this process, where it is a value of its own."""
    import ctypes

    value = ctypes.c_uint64(version)
    interpreter = Interpreter(
        runtime=0x1000, version=ctypes.addressof(value), eval_start=0x2000, eval_size=0x100
    )
    located = python.locate(interpreter, os.getpid(), 0)
    if not known:
        assert located is None
        return
    assert struct.unpack_from("=QQQ", located) == (0x1000 + 40, 0x2000, 0x2100)


def test_a_process_that_is_gone_has_no_interpreter():
    assert python.locate(Interpreter(0, 0, 0, 0), 1 << 22, 0) is None
