"""Test dtypes from BCC's descriptions of C types: every offset as in the C compiler, or an error."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pytracer.bpf.read.dtypes import dtype_of
from pytracer.errors import SchemaError


def describe(node) -> bytes:
    return json.dumps(node).encode()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("char", "i1"),
        ("unsigned char", "u1"),
        ("_Bool", "?"),
        ("short", "i2"),
        ("unsigned int", "u4"),
        ("int", "i4"),
        ("long", "i8"),
        ("unsigned long long", "u8"),
        ("enum protocol", "u4"),
        ("void *", "u8"),
    ],
)
def test_plain_types(name, dtype):
    assert dtype_of(describe(name), np.dtype(dtype).itemsize) == np.dtype(dtype)


U64 = "unsigned long long"
UNION = ["u", [["wide", U64], ["narrow", "unsigned int"]], "union"]

LAYOUTS = [  # description, size, {member: offset}, as a C compiler for BPF lays them out
    pytest.param(
        ["key", [["call", U64], ["comm", "char", [16]], ["pid", "unsigned int"]], "struct"],
        32,
        {"call": 0, "comm": 8, "pid": 24},
        id="padding-at-the-end",
    ),
    pytest.param(
        ["s", [["a", "unsigned char"], ["b", U64], ["c", "short"]], "struct"],
        24,
        {"a": 0, "b": 8, "c": 16},
        id="padding-inside",
    ),
    pytest.param(
        ["s", [["a", "unsigned char"], ["b", U64]], "struct_packed"], 9, {"a": 0, "b": 1}, id="packed"
    ),
    pytest.param(
        ["s", [["a", "int"], ["in", ["t", [["x", "char"], ["y", U64]], "struct"]]], "struct"],
        24,
        {"a": 0, "in": 8},
        id="nested",
    ),
    pytest.param(
        ["s", [["a", "int"], ["u", UNION], ["c", U64]], "struct"],
        24,
        {"a": 0, "u": 8, "c": 16},
        id="union-is-aligned-as-its-widest-member",
    ),
    pytest.param(
        ["s", [["a", "short", [3]], ["b", "unsigned int", [2, 2]]], "struct"],
        24,
        {"a": 0, "b": 8},
        id="arrays",
    ),
    pytest.param(["s", [["a", "int"], ["b", "int"]]], 8, {"a": 0, "b": 4}, id="no-kind"),
]


@pytest.mark.parametrize(("node", "size", "offsets"), LAYOUTS)
def test_offsets(node, size, offsets):
    dtype = dtype_of(describe(node), size)
    assert dtype.itemsize == size
    assert {name: dtype.fields[name][1] for name in dtype.names} == offsets


def test_members_of_a_union_share_their_bytes():
    dtype = dtype_of(describe(UNION), 8)
    value = np.frombuffer((5).to_bytes(8, "little"), dtype=dtype)[0]
    assert (int(value["wide"]), int(value["narrow"])) == (5, 5)


def test_arrays_of_characters_are_strings():
    dtype = dtype_of(describe(["s", [["comm", "char", [4]]], "struct"]), 4)
    assert np.frombuffer(b"l\0s\0", dtype=dtype)["comm"].tolist() == [b"l\0s"]


def test_arrays_of_u8_are_bytes():
    dtype = dtype_of(describe(["s", [["mac", "unsigned char", [4]]], "struct"]), 4)
    assert np.frombuffer(b"l\0s\0", dtype=dtype)["mac"].tolist() == [[108, 0, 115, 0]]


@pytest.mark.parametrize(
    ("node", "size", "message"),
    [
        pytest.param(["s", [["a", "int"]], "struct"], 8, "8 bytes in C but 4", id="another-size"),
        pytest.param(["s", [["a", "struct unheard_of"]], "struct"], 8, "not known here", id="unknown-type"),
        pytest.param("float", 4, "not known here", id="float"),
        # struct { u32 a : 3; u32 b : 29; u64 c; }: as plain members they come to the same size.
        pytest.param(
            ["s", [["a", "unsigned int", 3], ["b", "unsigned int", 29], ["c", U64]], "struct"],
            16,
            "bit",
            id="bit-fields",
        ),
    ],
)
def test_types_that_cannot_be_laid_out_are_an_error(node, size, message):
    with pytest.raises(SchemaError, match=message):
        dtype_of(describe(node), size)


@pytest.mark.parametrize(
    "description",
    [
        "",
        "null",
        "7",
        "[]",
        "{}",
        '["a", 7]',
        '["a", [7]]',
        '["a", [[7, "int"]]]',
        '["a", [["b", "int"], ["b", "int"]]]',
        '["a", [["b", "int", [-1]]]]',
        '["a", [["b", "int", ["c"]]]]',
        '["a", [["b", "int", [99999999999]]]]',
        "[" * 100_000,
    ],
)
def test_invalid_descriptions(description: str) -> None:
    with pytest.raises(SchemaError):
        dtype_of(description, 8)
