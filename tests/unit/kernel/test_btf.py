"""Test the BTF parser, on BTF made by the test."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from pytracer.errors import HeadersError
from pytracer.kernel.btf import COMPOSITES, ENUMS, Btf, BtfKind
from support.btf_builder import INT, LONG, basic


def test_members_keep_name_type_and_offset() -> None:
    b = basic()
    pair = b.struct("pair", 16, ("first", INT, 0), ("second", LONG, 64))
    btf = b.btf()
    assert [tuple(m) for m in btf.members(pair)] == [("first", INT, 0, 0), ("second", LONG, 64, 0)]
    assert btf.size_of(pair) == 16
    assert btf.member_count(pair) == 2
    assert len(btf) == 5


def test_member_offset_goes_through_unnamed_inner_structs() -> None:
    b = basic()
    inner = b.struct("", 8, ("x", INT, 0), ("y", INT, 32))
    either = b.struct("", 8, ("whole", LONG, 0), ("", inner, 0), union=True)
    b.struct("outer", 16, ("a", LONG, 0), ("", b.add(BtfKind.CONST, "", either), 64))
    btf = b.btf()
    assert btf.member_offset("outer", "y") == 12
    assert btf.member_offset("outer", "whole") == 8
    assert btf.member_offset("outer", "z") is None
    assert btf.member_offset("nobody", "z") is None


def test_member_accepts_a_dotted_path() -> None:
    b = basic()
    inner = b.struct("inner", 8, ("x", INT, 0), ("y", INT, 32))
    b.struct("outer", 16, ("a", LONG, 0), ("in", b.typedef("inner_t", inner), 64))
    btf = b.btf()
    assert btf.member_offset("outer", "in.y") == 12
    assert btf.member_offset("outer", "a.y") is None


def test_bit_fields_in_both_notations() -> None:
    b = basic()
    new = b.bits("new", 8, ("whole", INT, 0, 0), ("flag", INT, 35, 1), ("wide", INT, 36, 12))
    old = b.struct("old", 8, ("flag", b.int("int", 4, bits=3, offset=2), 32), ("whole", INT, 0))
    btf = b.btf()
    assert [(m.bit_offset, m.bits) for m in btf.members(new)] == [(0, 0), (35, 1), (36, 12)]
    assert [(m.bit_offset, m.bits) for m in btf.members(old)] == [(34, 3), (0, 0)]


def test_types_are_seen_through() -> None:
    b = basic()
    named = b.typedef("name_t", b.add(BtfKind.CONST, "", b.add(BtfKind.TYPE_TAG, "rcu", INT)))
    rows = b.array(b.array(named, 3), 5)
    pointer = b.ptr(rows)
    btf = b.btf()
    assert btf.resolve(named) == INT
    assert btf.resolve(named, typedefs=False) == named
    assert btf.size_of(rows) == 60
    assert btf.size_of(pointer) == struct.calcsize("P")
    assert btf.resolve(0) == 0
    assert btf.kind(0) is BtfKind.VOID


def test_integers_floats_and_prototypes() -> None:
    b = basic()
    boolean = b.int("_Bool", 1, encoding=4)
    double = b.add(BtfKind.FLOAT, "double", 8)
    proto = b.add(BtfKind.FUNC_PROTO, "", INT, b.string("fd"), INT, 0, 0, count=2)
    function = b.add(BtfKind.FUNC, "ioctl", proto, count=1)
    b.add(BtfKind.DECL_TAG, "hot", function, 0)
    b.add(BtfKind.VAR, "jiffies", LONG, 1)
    b.add(BtfKind.DATASEC, ".data", 8, 1, 0, 8, count=1)
    b.struct("after", 4, ("x", INT, 0))
    btf = b.btf()
    assert btf.integer(boolean).boolean
    assert btf.integer(INT).signed
    assert btf.size_of(double) == 8
    assert btf.func_proto(function) == (INT, (("fd", INT),), True)
    assert btf.find(BtfKind.STRUCT, "after") == len(btf) - 1
    assert btf.names(BtfKind.FUNC) == {"ioctl"}


def test_enums_with_and_without_sign() -> None:
    b = basic()
    signed = b.enum("signed", {"MINUS": -1, "ONE": 1}, flag=True)
    unsigned = b.enum("unsigned", {"ALL": 0xFFFFFFFF})
    wide = b.enum64("wide", {"HUGE": 1 << 40})
    negative = b.enum64("negative", {"LOW": -(1 << 40)}, flag=True)
    btf = b.btf()
    assert list(btf.enumerators(signed)) == [("MINUS", -1), ("ONE", 1)]
    assert list(btf.enumerators(unsigned)) == [("ALL", 0xFFFFFFFF)]
    assert list(btf.enumerators(wide)) == [("HUGE", 1 << 40)]
    assert list(btf.enumerators(negative)) == [("LOW", -(1 << 40))]
    assert btf.enumerators_named(["ONE", "HUGE", "NONE"]) == {"ONE": [(signed, 1)], "HUGE": [(wide, 1 << 40)]}


def test_enums_of_old_btf_are_signed() -> None:
    b = basic()
    old = b.enum("old", {"MINUS": -1})
    assert list(b.btf().enumerators(old)) == [("MINUS", -1)]


@pytest.mark.parametrize("tidy", [True, False])
def test_the_fullest_of_several_types_of_one_name_is_found(tidy: bool) -> None:
    b = basic(tidy=tidy)
    b.add(BtfKind.FWD, "thing", 0)
    small = b.struct("thing", 4, ("x", INT, 0))
    large = b.struct("thing", 8, ("x", INT, 0), ("y", INT, 32))
    name = b.typedef("thing", small)
    btf = b.btf()
    assert btf.find_all(BtfKind.STRUCT, "thing") == [large, small]
    assert btf.find(BtfKind.TYPEDEF, "thing") == name
    assert btf.find(ENUMS, "thing") is None
    assert btf.find(COMPOSITES, "nothing") is None
    assert btf.find(COMPOSITES, "") is None
    assert not btf.fwd_is_union(4)


def test_the_other_byte_order_is_distinguished() -> None:
    other = ">" if sys.byteorder == "little" else "<"
    with pytest.raises(HeadersError, match="byte order"):
        Btf(basic().data(order=other))


@pytest.mark.parametrize("size", [0, 1, 23, 24, 30, 60])
def test_data_cut_short_is_an_error(size: int) -> None:
    with pytest.raises(HeadersError):
        Btf(basic().data()[:size])


def test_each_truncation_of_the_types_is_an_error_or_harmless() -> None:
    b = basic()
    b.struct("pair", 16, ("first", INT, 0), ("second", LONG, 64))
    types = b"".join(b.types)
    for size in range(4, len(types), 4):
        b.types = [types[:size]]
        try:
            btf = b.btf()
        except HeadersError:
            continue
        assert len(btf) <= 4


def test_damage_is_an_error_and_not_a_traceback() -> None:
    b = basic()
    loop = b.typedef("loop", 4)
    wild = b.ptr(999)
    selfish = b.struct("selfish", 4, ("", 6, 0))
    function = b.add(BtfKind.FUNC, "f", 0)
    endless = b.array(8, 1)
    btf = b.btf()
    for call in (
        lambda: btf.resolve(loop),
        lambda: btf.size_of(loop),
        lambda: btf.kind(btf.target(wild)),
        lambda: list(btf.walk(selfish)),
        lambda: btf.size_of(function),
        lambda: btf.size_of(endless),
        lambda: btf.members(INT),
        lambda: list(btf.enumerators(wild)),
        lambda: btf.func_proto(INT),
        lambda: btf.string(1 << 30),
        lambda: btf.name(-1),
    ):
        with pytest.raises(HeadersError):
            call()


def test_unknown_kinds_and_versions_are_errors() -> None:
    b = basic()
    b.types.append(struct.pack("=3I", 0, 31 << 24, 0))
    with pytest.raises(HeadersError, match="31"):
        b.btf()
    data = bytearray(basic().data())
    data[2] = 2
    with pytest.raises(HeadersError, match="version 2"):
        Btf(bytes(data))
    with pytest.raises(HeadersError, match="not BTF"):
        Btf(b"\x7fELF" + bytes(40))
    with pytest.raises(HeadersError, match="NUL"):
        Btf(basic().data()[:-1] + b"x")


def test_load_reports_missing_btf(tmp_path: Path) -> None:
    with pytest.raises(HeadersError) as excinfo:
        Btf.load(tmp_path / "vmlinux")
    assert "CONFIG_DEBUG_INFO_BTF" in excinfo.value.hint
    (tmp_path / "vmlinux").write_bytes(basic().data())
    assert len(Btf.load(tmp_path / "vmlinux")) == 4


def test_the_search_of_doubled_members_terminates():
    builder = basic()
    inner = builder.struct("", 4, ("x", 1, 0))
    for _ in range(40):
        inner = builder.struct("", 4, ("", inner, 0), ("", inner, 0))
    with pytest.raises(HeadersError, match="too many members"):
        list(builder.btf().walk(inner))
