"""Test the assembler: encodings byte for byte, labels, listings, and errors."""

from __future__ import annotations

import struct
import sys

import pytest

from pytracer.bpf.asm import assembler
from pytracer.bpf.asm.assembler import DW, R0, R1, R2, R3, R6, R10, Assembler, B, H, HelperId, Instruction, W
from pytracer.errors import BuildError

little = pytest.mark.skipif(sys.byteorder != "little", reason="the bytes below are a little-endian machine's")


def assemble_one(method: str, *arguments: object, **options: object) -> bytes:
    """Return the bytes of a program that is one call of the assembler."""
    a = Assembler()
    getattr(a, method)(*arguments, **options)
    return a.assemble()


# The right column is what clang and the kernel's own macros (include/linux/filter.h) make of it.
ENCODINGS = [
    (("mov", R6, R1), {}, "bf16000000000000"),
    (("mov", R0, 0), {}, "b700000000000000"),
    (("mov", R0, -1), {}, "b7000000ffffffff"),
    (("mov", R2, R3), {}, "bf32000000000000"),
    (("add", R2, R10), {}, "0fa2000000000000"),
    (("add", R2, -4), {}, "07020000fcffffff"),
    (("alu", R2, "-=", R1), {}, "1f12000000000000"),
    (("alu", R2, "*=", 3), {}, "2702000003000000"),
    (("alu", R2, "/=", R3), {}, "3f32000000000000"),
    (("alu", R2, "|=", 0x10000), {}, "4702000000000100"),
    (("alu", R2, "&=", 0xFF), {"bits": 32}, "54020000ff000000"),
    (("alu", R2, "&=", 0xFFFFFFFF), {"bits": 32}, "54020000ffffffff"),
    (("alu", R1, "<<=", 2), {}, "6701000002000000"),
    (("alu", R1, ">>=", 32), {}, "7701000020000000"),
    (("alu", R1, "%=", 7), {}, "9701000007000000"),
    (("alu", R1, "^=", R2), {}, "af21000000000000"),
    (("alu", R1, "s>>=", 63), {}, "c70100003f000000"),
    (("alu", R1, "=", 1), {"bits": 32}, "b401000001000000"),
    (("negate", R1), {}, "8701000000000000"),
    (("negate", R1), {"bits": 32}, "8401000000000000"),
    (("from_big_endian", R3, 16), {}, "dc03000010000000"),
    (("from_big_endian", R3, 64), {}, "dc03000040000000"),
    (("load", W, R0, R6, 40), {}, "6160280000000000"),
    (("load", H, R1, R10, -8), {}, "69a1f8ff00000000"),
    (("load", B, R1, R2, 0), {}, "7121000000000000"),
    (("load", DW, R1, R0, 8), {}, "7901080000000000"),
    (("store", DW, R0, 8, R1), {}, "7b10080000000000"),
    (("store", W, R10, -4, R0), {}, "630afcff00000000"),
    (("store", H, R10, -2, 7), {}, "6a0afeff07000000"),
    (("store", B, R10, -1, R1), {}, "731affff00000000"),
    (("load_constant", R1, 0x1122334455667788), {}, "18010000887766550000000044332211"),
    (("load_constant", R1, -1), {}, "18010000ffffffff00000000ffffffff"),
    (("load_map", R1, 5), {}, "18110000050000000000000000000000"),
    (("call", HelperId.skb_load_bytes), {}, "850000001a000000"),
    (("exit",), {}, "9500000000000000"),
]


@little
@pytest.mark.parametrize(("call", "options", "expected"), ENCODINGS, ids=lambda value: str(value)[:40])
def test_encoding(call, options, expected):
    assert assemble_one(*call, **options).hex() == expected


@pytest.mark.parametrize(("condition", "code"), assembler.CONDITIONS.items())
def test_jump_codes(condition, code):
    for bits, kind in ((64, assembler.JMP), (32, assembler.JMP32)):
        a = Assembler()
        a.label("here")
        a.jump_if(R1, condition, 3, "here", bits=bits)
        a.jump_if(R1, condition, R2, "here", bits=bits)
        first, second = a.instructions()
        assert (first.code, first.dst, first.off, first.imm) == (kind | code, 1, -1, 3)
        assert (second.code, second.dst, second.src, second.off) == (kind | code | assembler.X, 1, 2, -2)


def test_an_instruction_is_eight_bytes_in_this_machines_order():
    code, _registers, off, imm = struct.unpack("=BBhi", Instruction(0x61, 1, 2, -3, -4).encode())
    assert (code, off, imm) == (0x61, -3, -4)


def test_registers_share_a_byte_by_byte_order(monkeypatch):
    load = Instruction(0x61, dst=1, src=2)
    monkeypatch.setattr(sys, "byteorder", "little")
    assert load.encode()[1] == 0x21
    monkeypatch.setattr(sys, "byteorder", "big")
    assert load.encode()[1] == 0x12


def test_labels_count_from_the_next_instruction_and_wide_constants_twice():
    a = Assembler()
    a.jump_if(R1, "==", 0, "out")
    a.load_map(R1, 3)
    a.label("again")
    a.mov(R0, 1)
    a.jump("again")
    a.label("out")
    a.label("end")
    a.exit()
    assert [i.off for i in a.instructions()] == [4, 0, 0, 0, -2, 0]
    assert len(a) == 6
    assert len(a.assemble()) == 6 * 8


def test_a_duplicate_label_is_refused():
    a = Assembler()
    a.label("here")
    with pytest.raises(BuildError, match="'here' is defined twice"):
        a.label("here")


def test_an_undefined_label_is_refused():
    a = Assembler()
    a.jump("there")
    with pytest.raises(BuildError, match="jump to 'there'"):
        a.assemble()


def test_a_label_too_far_away():
    a = Assembler()
    a.jump("far")
    for _ in range(1 << 15):
        a.mov(R0, 0)
    a.label("far")
    a.exit()
    with pytest.raises(BuildError, match="way to label 'far' 32768 does not fit into 16 bits"):
        a.assemble()


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        (("load", W, R0, R1, 1 << 15), {}, "offset 32768"),
        (("load", W, R0, R1, -(1 << 15) - 1), {}, "offset -32769"),
        (("store", W, R0, 1 << 15, R1), {}, "offset 32768"),
        (("store", DW, R0, 0, 1 << 31), {}, "constant 2147483648"),
        (("mov", R0, 1 << 31), {}, "constant 2147483648"),
        (("mov", R0, -(1 << 31) - 1), {}, "constant -2147483649"),
        (("alu", R0, "&=", 1 << 32), {"bits": 32}, "constant 4294967296"),
        (("alu", R0, "**=", 2), {}, r"no operation '\*\*='"),
        (("alu", R0, "+=", 2), {"bits": 16}, "not on 16"),
        (("jump_if", R0, "=", 2, "x"), {}, "no condition '='"),
        (("jump_if", R0, "==", 1 << 31, "x"), {}, "constant 2147483648"),
        (("from_big_endian", R0, 8), {}, "byte order of 8 bits"),
        (("load_constant", R0, 1 << 64), {}, "does not fit into 64 bits"),
        (("load_map", R0, -1), {}, "not a descriptor"),
    ],
    ids=str,
)
def test_values_that_do_not_fit_are_refused(call, options, message):
    with pytest.raises(BuildError, match=message):
        assemble_one(*call, **options)


def test_a_listing():
    a = Assembler()
    a.comment("keep the context")
    a.mov(R6, R1)
    a.load_map(R1, 7, "rows")
    a.load_constant(R2, -1)
    a.label("again")
    a.label("once_more")
    a.load(B, R1, R10, -4)
    a.store(DW, R10, -16, 0x1234)
    a.store(H, R10, 8, R1)
    a.alu(R1, "&=", 255, bits=32)
    a.alu(R1, "s>>=", R2)
    a.negate(R1)
    a.from_big_endian(R1, 16)
    a.call(HelperId.map_lookup_elem)
    a.jump_if(R0, "s>=", -3, "again")
    a.jump_if(R0, "&", R1, "out", bits=32)
    a.jump("out")
    a.label("out")
    a.exit()
    assert a.listing() == (
        "       ; keep the context\n"
        "    0: r6 = r1\n"
        "    1: r1 = map rows\n"
        "    3: r2 = -0x1\n"
        "again:\n"
        "once_more:\n"
        "    5: r1 = *(u8 *)(r10 - 4)\n"
        "    6: *(u64 *)(r10 - 16) = 0x1234\n"
        "    7: *(u16 *)(r10 + 8) = r1\n"
        "    8: w1 &= 255\n"
        "    9: r1 s>>= r2\n"
        "   10: r1 = -r1\n"
        "   11: r1 = be16 r1\n"
        "   12: call map_lookup_elem\n"
        "   13: if r0 s>= -3 goto again\n"
        "   14: if w0 & w1 goto out\n"
        "   15: goto out\n"
        "out:\n"
        "   16: exit\n"
    )


def test_an_instruction_without_a_program_shows_its_distance():
    assert str(Instruction(assembler.JMP | assembler.ALWAYS, off=-3)) == "goto -3"
