"""Test the lines of Python's instructions against what interpreters of each version say."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest

from pytracer.symbols.python_lines import LineTable, read_line_table
from support.pythons import find_pythons

TABLE = np.dtype(
    [
        *((name, "u8") for name in ("address", "code_start", "code_size", "minor")),
        ("words", "u8", 16),
        ("text", "u8", 10),
    ]
)
SCRIPT = """
import argparse, ast, asyncio.tasks, dis, json, sys, types
codes = [compile(open(m.__file__).read(), m.__file__, "exec") for m in (argparse, ast, asyncio.tasks)]
for code in codes:
    codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
found = []
for code in codes:
    if sys.version_info >= (3, 10):
        lines = list(code.co_lines())
        table = code.co_linetable
    else:
        starts = list(dis.findlinestarts(code))
        ends = [start for start, _ in starts[1:]] + [len(code.co_code)]
        lines = [(start, end, line) for (start, line), end in zip(starts, ends)]
        table = code.co_lnotab
    found.append((table.hex(), code.co_firstlineno, lines))
print(json.dumps([sys.version_info[1], found]))
"""


@pytest.mark.parametrize("python", find_pythons())
def test_lines_are_those_that_python_has(python):
    minor, codes = json.loads(subprocess.run([python, "-c", SCRIPT], capture_output=True, check=True).stdout)
    assert len(codes) > 300
    for table, first, lines in codes:
        decoded = LineTable(bytes.fromhex(table), minor, first)
        for start, end, line in lines:
            for offset in range(start, end, 2):
                assert decoded.find(offset) == line


@pytest.mark.parametrize(
    ("minor", "data"),
    [
        (11, b""),
        (11, b"\x00\x00"),
        (11, b"\xe8" + 5000 * b"\x7f"),  # a number that does not end
        (11, b"\xe8\x40"),
        (10, b""),
        (10, b"\x02"),
    ],
)
def test_a_table_that_is_none_has_no_lines(minor, data):
    assert LineTable(data, minor, 7).find(0) is None


def test_what_is_behind_the_end_has_no_line():
    table = LineTable(b"\xe8\x04", 12, 7)
    assert [table.find(offset) for offset in (-1, 0, 1, 2)] == [None, 9, 9, None]


def element(table, code, words, lead, size=24):
    value = np.zeros(1, [("pid", "u8"), ("line", "u4"), ("table", TABLE)])[0]
    value["pid"], value["line"] = os.getpid(), 7
    value["table"]["address"], value["table"]["code_start"], value["table"]["code_size"] = table, code, size
    value["table"]["minor"] = 12
    value["table"]["words"][: len(words)], value["table"]["text"][: len(lead)] = words, lead
    return value


def test_a_table_is_read_from_the_process_if_its_code_object_is_there():
    text = b"\xe8\x04"
    code = np.arange(3, dtype=np.uint64)
    lead = np.array([2, 0, int.from_bytes(text, "little")], np.uint64)
    found = read_line_table(element(id(text), code.ctypes.data, code, lead), 100)
    assert found is not None
    assert (found.data, found.find(0)) == (text, 9)
    assert read_line_table(element(id(text), code.ctypes.data, code, lead), 1) is None
    assert read_line_table(element(id(text), code.ctypes.data, code + np.uint64(1), lead), 100) is None
    assert read_line_table(element(id(text), code.ctypes.data, code, lead + np.uint64(1)), 100) is None
    assert read_line_table(element(0, code.ctypes.data, code, lead), 100) is None
    assert read_line_table(element(1 << 63, code.ctypes.data, code, lead), 100) is None
    huge = np.array([1 << 60, 0, 0], np.uint64)
    assert read_line_table(element(id(text), code.ctypes.data, code, huge), 1 << 62) is None
