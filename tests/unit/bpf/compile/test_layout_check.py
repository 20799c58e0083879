"""Test the check of struct offsets, on bytecode assembled by the test."""

from __future__ import annotations

import struct
import sys

import pytest

from pytracer.bpf.compile.layout_check import MemberOffset, check_function, check_functions, verify
from pytracer.errors import SchemaError

CHECKS = [MemberOffset("struct task_struct", "tgid", 2812), MemberOffset("struct task_struct", "comm", 3000)]

MOV, SET, ADD, PLUS, MINUS, PLUS32 = 0xBF, 0xB7, 0x0F, 0x07, 0x17, 0x04
STORE, LOAD, EXIT, CALL, LD_IMM64 = 0x7B, 0x79, 0x95, 0x85, 0x18


def insn(code: int, to: int = 0, source: int = 0, offset: int = 0, number: int = 0) -> bytes:
    nibbles = to | source << 4 if sys.byteorder == "little" else to << 4 | source
    return struct.pack("=BBhi", code, nibbles, offset, number)


def address(index: int, offset: int) -> bytes:
    """Store the address at ``offset`` bytes into r1 as number ``index``."""
    return insn(MOV, 2, 1) + insn(PLUS, 2, number=offset) + insn(STORE, 1, 2, 8 * index)


END = insn(SET, 0) + insn(EXIT)


def test_the_function_takes_each_address_once() -> None:
    text = check_function(CHECKS)
    assert text.count("pytracer_layout_check(void *base)") == 1
    assert "struct task_struct *at = base;" in text
    assert "[0] = (u64)&at->tgid;" in text
    assert "[1] = (u64)&at->comm;" in text
    assert check_functions([]) == ""


def test_right_offsets_pass() -> None:
    verify(address(0, 2812) + address(1, 3000) + END, CHECKS)
    verify(END, [])


def test_a_wrong_offset_is_named() -> None:
    with pytest.raises(SchemaError) as excinfo:
        verify(address(0, 2828) + address(1, 3000) + END, CHECKS)
    assert excinfo.value.message == (
        "struct task_struct.tgid is at offset 2812 in this kernel, but was compiled to offset 2828"
    )
    assert excinfo.value.hint


def test_a_missing_store_is_an_error() -> None:
    with pytest.raises(SchemaError, match=r"comm .* nothing that could be checked"):
        verify(address(0, 2812) + END, CHECKS)


def test_only_addresses_count_and_only_stores_through_the_argument() -> None:
    number = insn(SET, 2, number=2812) + insn(STORE, 1, 2)
    elsewhere = insn(SET, 3) + insn(MOV, 2, 1) + insn(PLUS, 2, number=2812) + insn(STORE, 3, 2)
    for code in (number, elsewhere):
        with pytest.raises(SchemaError, match="nothing"):
            verify(code + END, CHECKS[:1])


@pytest.mark.parametrize(
    "code",
    [
        # Added in two steps; by a register; from a 64-bit constant; subtracted; kept on the stack between.
        insn(MOV, 2, 1) + insn(PLUS, 2, number=2000) + insn(PLUS, 2, number=812) + insn(STORE, 1, 2),
        insn(SET, 2, number=2812) + insn(ADD, 2, 1) + insn(STORE, 1, 2),
        insn(LD_IMM64, 2, number=2812) + insn(0) + insn(ADD, 2, 1) + insn(STORE, 1, 2),
        insn(MOV, 2, 1) + insn(PLUS, 2, number=3000) + insn(MINUS, 2, number=188) + insn(STORE, 1, 2),
        insn(MOV, 2, 1) + insn(PLUS, 2, number=2812) + insn(STORE, 10, 2, -8)
        + insn(SET, 2) + insn(LOAD, 3, 10, -8) + insn(STORE, 1, 3),
        insn(MOV, 6, 1) + insn(PLUS, 6, number=40000)
        + insn(MOV, 2, 1) + insn(PLUS, 2, number=2812)
        + insn(STORE, 6, 2, -20000) + insn(PLUS, 6, number=-20000) + insn(STORE, 6, 2, -20000),
    ],
    ids=["steps", "register", "wide", "minus", "stack", "moved"],
)  # fmt: skip
def test_ways_to_the_same_address(code: bytes) -> None:
    verify(code + END, CHECKS[:1])


def test_an_address_cut_to_32_bits_is_none() -> None:
    code = insn(MOV, 2, 1) + insn(PLUS32, 2, number=2812) + insn(STORE, 1, 2)
    with pytest.raises(SchemaError, match="nothing"):
        verify(code + END, CHECKS[:1])


def test_other_code_is_an_error() -> None:
    with pytest.raises(SchemaError, match="0x85"):
        verify(insn(CALL, number=5) + END, CHECKS)
    with pytest.raises(SchemaError, match="whole number"):
        verify(END[:-1], CHECKS)
