"""Test where a Python interpreter is found, and how its functions are named."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from pytracer.symbols import elf_tables, python
from pytracer.symbols.python import FUNCTION, FunctionNames, Interpreter
from support.pythons import DISTRIBUTION

VALUE = np.dtype(
    {
        "names": ["code", "line", "name_width", "name_size", "file_width", "file_size", "name", "file"],
        "formats": ["u8", "u4", "u1", "u1", "u1", "u1", "S96", "S96"],
    }
)
PYTHON = Path(DISTRIBUTION)
CODE = 0x7F0000001000
# Behind the three addresses and sizes of struct pt_python.
TAIL = struct.Struct("=28I")


def find(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return python.find_interpreter(elf_tables.read(descriptor))
    finally:
        os.close(descriptor)


def name(text, file, line=3, encoding="latin-1", width=1):
    text, file = text.encode(encoding), file.encode(encoding)
    return (CODE, line, width if text else 0, len(text), width if file else 0, len(file), text, file)


def names_of(*values):
    functions = FunctionNames()
    functions.add(np.array(list(values), VALUE))
    return functions.find(marked(*range(1, len(values) + 1)))


def marked(*numbers):
    return np.array([FUNCTION | number << 48 | CODE for number in numbers], np.uint64)


def test_a_function_has_its_name_file_and_line():
    assert names_of(name("Worker.work", "/srv/a/worker.py"), name("other", "x.py", 4)) == [
        "Worker.work (worker.py:3)",
        "other (x.py:4)",
    ]


def test_names_are_read_on_where_the_last_reading_ended():
    functions = FunctionNames()
    assert len(functions) == 1
    functions.add(np.array([name("first", "")], VALUE))
    assert len(functions) == 2
    functions.add(np.array([name("second", "")], VALUE))
    assert functions.find(marked(2, 1)) == ["second", "first"]


def test_a_function_is_found_by_where_a_call_would_be():
    """All frames but the first are looked up one byte before."""
    functions = FunctionNames()
    functions.add(np.array([name("work", "")], VALUE))
    assert functions.find(marked(1) - np.uint64(1)) == ["work"]
    assert functions.find(marked(0) - np.uint64(1)) == [f"[python 0x{CODE:x}]"]


def test_characters_have_one_two_or_four_bytes():
    """Those of one byte are Latin-1. Texts that end in zeros have them, though arrays of bytes do not."""
    assert names_of(
        name("\u00e9t\u00e9", ""),
        name("\u4e2da", "", encoding="utf-16-le", width=2),
        name("\U0001f40d", "/\U0001f40d.py", encoding="utf-32-le", width=4),
    ) == ["\u00e9t\u00e9", "\u4e2da", "\U0001f40d (\U0001f40d.py:3)"]


def test_what_has_no_name_is_shown_by_its_address():
    assert names_of(name("", "")) == [f"0x{CODE:x}"]
    assert FunctionNames().find(marked(0, 1)) == 2 * [f"[python 0x{CODE:x}]"]


def test_characters_that_are_none_and_a_backslash_are_shown():
    half = name("ab", "", encoding="utf-16-le", width=2)
    broken = (*half[:6], b"a\0\0\xd8", b"")
    assert names_of(name("a\\b", ""), broken) == ["a\\\\b", "a\ufffd"]


def test_debians_interpreter_is_found():
    interpreter = find(PYTHON)
    assert interpreter is not None
    assert interpreter.eval_size > 10_000


def test_other_programs_have_none(tmp_path):
    assert find("/usr/bin/env") is None
    other = tmp_path / "python3"
    other.write_bytes(Path("/usr/bin/env").read_bytes())
    assert find(other) is None


def test_the_part_of_it_that_is_elsewhere_is_found():
    """Debian's interpreter is stripped, and built with profiles: what seldom runs is in another place."""
    interpreter = find(PYTHON)
    assert interpreter.cold_size > 1000
    start, end = interpreter.cold_start, interpreter.cold_start + interpreter.cold_size
    assert end <= interpreter.eval_start or start >= interpreter.eval_start + interpreter.eval_size


@pytest.mark.parametrize(
    ("version", "threads"), [(0x030B02F0, 16), (0x030C01F0, 72), (0x020700F0, None), (0, None)]
)
def test_offsets_are_those_of_the_version_in_the_process(version, threads):
    """The version is read from memory: here that of this process, where it is a value of its own."""
    value = ctypes.c_uint64(version)
    interpreter = Interpreter(0x1000, ctypes.addressof(value), 0x2000, 0x100, 0x8000, 0x30)
    located = python.locate(interpreter, os.getpid(), 0)
    if threads is None:
        assert located is None
        return
    assert struct.unpack_from("=QQQQQ", located) == (0x1000 + 40, 0x2000, 0x100, 0x8000, 0x30)
    assert TAIL.unpack_from(located, 40)[5] == threads
    assert len(located) == 40 + TAIL.size


def test_a_version_without_its_number_is_known_by_the_name_of_the_file():
    interpreter = Interpreter(0x1000, 0, 0x2000, 0x100, minor=9)
    located = python.locate(interpreter, os.getpid(), 0)
    assert struct.unpack_from("=Q", located) == (0x1000 + 32,)


def test_a_process_that_is_gone_has_no_interpreter():
    assert python.locate(Interpreter(0, 0, 0, 0), 1 << 22, 0) is None
