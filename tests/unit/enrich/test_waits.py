"""Test what threads wait for as text."""

from __future__ import annotations

import re
import struct

import pytest

from pytracer.bpf.compile.source import probes_folder
from pytracer.enrich.strings import text
from pytracer.enrich.waits import CLASSES, wait_class, wait_where

V4 = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7])
V6 = bytes.fromhex("20010db8000000000000000000000001")


@pytest.mark.parametrize(
    ("kind", "port", "address", "name", "expected"),
    [
        (0, 0, b"", b"", ""),
        (1, 0, b"", b"data\0left over", "data"),
        (1, 0, b"", b"a\n\x1b[31m\xff", text(b"a\n\x1b[31m\xff")),
        (2, 80, V4, b"", "192.0.2.7:80"),
        (2, 443, V6, b"", "[2001:db8::1]:443"),
        (3, 8080, b"", b"", "port 8080"),
        (4, 0, b"", b"", "unix socket"),
        (5, 0, struct.pack("Q", 4711), b"", "pipe:[4711]"),
        (6, 0, struct.pack("Q", 0x7F00DEAD0000), b"", "0x7f00dead0000"),
        (9, 0, b"", b"", ""),
    ],
)
def test_where(kind, port, address, name, expected):
    value = struct.pack("=II16s40s", kind, port, address, name)
    assert wait_where(value) == wait_where(value.rstrip(b"\0")) == expected


def test_classes_are_those_of_the_c():
    source = (probes_folder() / "include" / "waits.h").read_text()
    [members] = re.findall(r"enum pt_class \{(.*?)\}", source, re.S)
    assert tuple(re.findall(r"PT_(\w+),", members)) == tuple(name.upper() for name in CLASSES)
    assert [wait_class(number) for number in range(len(CLASSES))] == list(CLASSES)
