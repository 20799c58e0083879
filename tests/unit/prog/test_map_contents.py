"""Test map values by type, and a program's source lines beside its code."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from pytracer.bpf.obj_info import MapInfo, SourceLine
from pytracer.bpf.sys import MapType
from pytracer.cli import prog_show
from pytracer.errors import PytracerError, UnknownNameError
from pytracer.prog import dump, map_contents
from pytracer.prog.disassembly import BytecodeLine
from pytracer.prog.dump import ProgramDump, _Lines
from pytracer.prog.map_contents import MapContents, by_type, decoders, format_bytes
from pytracer.prog.native_code import NativeInstruction
from pytracer.prog.program_list import KernelMap
from pytracer.record import replace
from support.btf_builder import CHAR, INT, LONG, basic

INFO = MapInfo(5, MapType.HASH, "things", 4, 8, 16, 0, 3, INT, LONG, 0)
BIT = 8


def test_values_are_read_by_their_types():
    builder = basic()
    signed = builder.int("signed char", 1, encoding=1)
    flag = builder.int("bool", 1, encoding=4)
    unsigned = builder.int("unsigned int", 4, encoding=0)
    colour = builder.enum("colour", {"RED": 1, "BLUE": 2})
    comm, numbers = builder.array(CHAR, 8), builder.array(unsigned, 2)
    inner_struct = builder.struct("inner", 8, ("x", unsigned, 0), ("y", INT, 32))
    unnamed = builder.struct("", 4, ("a", unsigned, 0), ("b", unsigned, 0), union=True)
    outer_type = builder.typedef(
        "whole_t",
        builder.struct(
            "whole",
            56,
            ("comm", comm, 0),
            ("numbers", numbers, 8 * BIT),
            ("inner", inner_struct, 16 * BIT),
            ("colour", colour, 24 * BIT),
            ("other", colour, 28 * BIT),
            ("small", signed, 32 * BIT),
            ("flag", flag, 33 * BIT),
            ("", unnamed, 36 * BIT),
            ("next", builder.ptr(0), 40 * BIT),
            ("far", LONG, 48 * BIT),
        ),
    )
    data = struct.pack("=8sIIIiIIbBxxIQq", b"sleep", 7, 8, 9, -9, 2, 77, -1, 1, 23, 0xFFFF8880, -101)
    assert by_type(builder.btf(), outer_type)(data) == {
        "comm": "sleep",
        "numbers": [7, 8],
        "inner": {"x": 9, "y": -9},
        "colour": "BLUE",
        "other": 77,
        "small": -1,
        "flag": True,
        "a": 23,
        "b": 23,
        "next": 0xFFFF8880,
        "far": -101,
    }


def test_bit_fields_are_read():
    builder = basic()
    unsigned = builder.int("unsigned int", 4, encoding=0)
    fields = builder.bits(
        "fields", 4, ("low", unsigned, 0, 3), ("middle", unsigned, 3, 13), ("high", unsigned, 16, 0)
    )
    value = by_type(builder.btf(), fields)(struct.pack("<I", 5 | 2049 << 3))
    assert (value["low"], value["middle"]) == (5, 2049)


def test_bit_fields_have_signs_and_names():
    builder = basic()
    flag, colour = builder.int("bool", 1, encoding=4), builder.enum("colour", {"RED": 1, "BLUE": 2})
    members = ("less", INT, 0, 7), ("on", flag, 7, 1), ("colour", colour, 8, 3), ("other", colour, 11, 3)
    fields = builder.bits("fields", 4, *members)
    data = struct.pack("<I", (-5 & 127) | 1 << 7 | 2 << 8 | 5 << 11)
    assert by_type(builder.btf(), fields)(data) == {"less": -5, "on": True, "colour": "BLUE", "other": 5}


def test_values_without_a_type_are_shown_as_numbers_and_bytes():
    assert format_bytes(struct.pack("=Q", 1 << 63)) == 1 << 63
    assert format_bytes(b"\1\2\3") == "01 02 03"
    assert format_bytes(b"") == ""


@pytest.mark.parametrize("data", [b"", b"no BTF"])
def test_types_that_are_no_good_are_done_without(monkeypatch, data):
    monkeypatch.setattr(map_contents, "read_btf", lambda _: data)
    assert decoders(INFO) == (format_bytes, format_bytes)


def test_types_that_are_not_of_the_size_are_done_without(monkeypatch):
    builder = basic()
    double = builder.add(map_contents.BtfKind.FLOAT, "double", 8)
    monkeypatch.setattr(map_contents, "read_btf", lambda _: builder.data())
    key, value = decoders(INFO)
    assert (key(b"\1\0\0\0"), value(b"\2" + bytes(7))) == (1, 2)
    assert decoders(replace(INFO, btf_value_type=double, value_size=4)) == (format_bytes, format_bytes)
    assert decoders(replace(INFO, btf_value_type=999)) == (format_bytes, format_bytes)


def test_unreadable_maps_are_reported():
    assert map_contents.read_contents(-1, replace(INFO, type=MapType.RINGBUF), 5).reason.startswith(
        "the kernel does not"
    )
    assert "too much room" in map_contents.read_contents(-1, replace(INFO, max_entries=1 << 30), 5).reason


FIRST, SECOND = SourceLine(0, "a.c", 3, 1, "\tint x = 1;"), SourceLine(2, "a.c", 4, 1, "\treturn x;", 8)


def test_a_line_of_c_is_shown_once_at_its_first_instruction():
    lines = _Lines([(2, SECOND), (0, FIRST)])
    assert [lines.new(index) for index in range(4)] == [FIRST, None, SECOND, None]
    hidden = _Lines([])
    assert [hidden.new(index) for index in range(2)] == [None, None]


FACTS = {
    "id": 7, "type": "xdp", "name": "enter", "owner": (), "attached": ("xdp:eth0",), "tag": "ab", "uid": 0,
    "loaded": "2026-01-01T00:00:00+00:00", "maps": (5,), "memory": 4096, "map_memory": 100, "insns": 3,
    "verified": None, "native": 9, "run_cnt": 0, "run_time_ns": 0,
}  # fmt: skip


def test_a_program_is_shown_with_its_c():
    class Info:
        gpl = True

    program_dump = ProgramDump(
        FACTS,
        Info(),
        (
            (KernelMap(INFO, 100), MapContents(3, ((1, {"comm": "a\x1b", "n": [1, 2]}),))),
            (KernelMap(INFO, 100), MapContents(None, reason="not to be read")),
            (KernelMap(INFO, 100), MapContents(0)),
        ),
        (
            (FIRST, BytecodeLine(0, bytes(8), "(b7) r0 = 1")),
            (None, BytecodeLine(1, bytes(8), "(05) goto pc+1", 3)),
        ),
        ((None, NativeInstruction(100, b"\x90", "nop")), (SECOND, NativeInstruction(101, b"\xc3", ""))),
        100,
        "read by nobody",
    )
    text = "\n".join(prog_show._text(program_dump))
    assert "  owner     none: its attach target holds it" in text
    assert (
        "  1: {comm=a\x1b, n=[1, 2]}\n  ... and 2 more; --entries N\n" in text
    )  # what is printed is escaped
    assert "  (not to be read)\n" in text
    assert "  (empty)\n" in text
    assert "; a.c:3  int x = 1;\n      0: (b7) r0 = 1\n      1: (05) goto pc+1  -> 3\n" in text
    assert "      0: nop\n; a.c:4  return x;\n      1: c3\n  (read by nobody)" in text
    records = list(prog_show._records(program_dump))
    assert [record["kind"] for record in records] == [
        "program", "map", "entry", "map", "map", "instruction", "instruction", "native", "native",
    ]  # fmt: skip
    assert records[5] | {"file": "a.c", "line": 3, "source": "\tint x = 1;"} == records[5]


def test_entries_of_arrays_that_are_0_are_counted():
    def lines(indented):
        return list(
            prog_show._maps(ProgramDump(FACTS, None, ((KernelMap(INFO, 100), indented),), (), (), 0, ""))
        )[2:]

    assert lines(MapContents(2, ((1, 7), (3, 8)), zero=2)) == [
        "  1: 7",
        "  3: 8",
        "  (2 more zero entries left out)",
    ]
    assert lines(MapContents(2, ((1, 7),), zero=2))[1:] == [
        "  ... and 1 more; --entries N",
        "  (2 more zero entries left out)",
    ]
    assert lines(MapContents(0, zero=4)) == ["  (4 zero entries left out)"]
    assert lines(MapContents(0)) == ["  (empty)"]


def test_a_program_that_is_unloaded_while_it_is_read(monkeypatch):
    class Gone:
        def list(self):
            return {7: None}

    def raise_gone(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(dump, "ProgramLister", Gone)
    monkeypatch.setattr(dump, "context", raise_gone)
    with pytest.raises(PytracerError, match="program 7 has gone while it was looked at"):
        dump.dump_program("7", entries=1)
    with pytest.raises(UnknownNameError, match="no program '8'"):
        dump.dump_program("8", entries=1)
