"""Test callbacks, which are appended to the programs that refer to them."""

from __future__ import annotations

import pytest

from pytracer.bpf.asm.assembler import R0, R2, R6, Assembler, Register
from pytracer.bpf.compile.bpf_loop import ENTRY, MARK, VMA_ENTRY, LoopBody, collect_bodies, link_bodies
from pytracer.bpf.compile.line_table import Line
from pytracer.bpf.image import encode_reference


def function(*names: int, register: Register = R2) -> bytes:
    """Return code that calls these functions."""
    a = Assembler()
    for name in names:
        a.load_constant(register, MARK | name)
    a.mov(R0, 0)
    a.exit()
    return a.assemble()


def test_a_program_that_has_nothing_called_stays_as_it_is():
    code = function()
    assert collect_bodies("alone", {"alone": code}.__getitem__) == [LoopBody("alone", 0, code)]
    assert link_bodies([LoopBody("alone", 0, code)]) == code


def test_callbacks_are_appended_once_in_order():
    """The first has the second called twice, and the third, which has the second called as well."""
    code = {"main": function(1, 3, 1), "pt_loop_1": function(), "pt_loop_3": function(1, register=R6)}
    bodies = collect_bodies("main", code.__getitem__)
    assert [(part.name, part.at) for part in bodies] == [("main", 0), ("pt_loop_1", 8), ("pt_loop_3", 12)]
    linked = link_bodies(bodies)
    assert linked[64:80] == ENTRY
    assert linked[96:112] == ENTRY
    assert [linked[offset : offset + 16] for offset in (0, 16, 32)] == [
        encode_reference(code["main"][:16], distance) for distance in (8 - 1, 12 - 3, 8 - 5)
    ]
    assert linked[112:128] == encode_reference(code["pt_loop_3"][:16], 8 - 15)
    assert linked[48:64] == code["main"][48:]
    assert linked[80:96] == code["pt_loop_1"]


def test_a_mapping_callback_gets_the_mapping_as_first_member():
    code = {"main": function(0x41), "pt_vma_1": function()}
    assert len(VMA_ENTRY) == len(ENTRY)
    assert collect_bodies("main", code.__getitem__)[1].code == VMA_ENTRY + function()


@pytest.mark.parametrize("constant", [MARK - 1, MARK | 0x100, 1])
def test_another_constant_is_none_of_them(constant):
    a = Assembler()
    a.load_constant(R2, constant)
    a.exit()
    code = a.assemble()
    assert link_bodies(collect_bodies("main", {"main": code}.__getitem__)) == code


def test_a_reference_keeps_its_register():
    loads = function(0, register=R6)[:16]
    assert encode_reference(loads, -1)[:8] == bytes([0x18, 0x46]) + bytes(2) + b"\xff" * 4
    assert encode_reference(loads, -1)[8:] == bytes(8)


def test_lines_count_from_the_whole():
    """Instructions before the function's first line in C have that line."""
    lines = [Line(0, "a.c", 1, "{"), Line(2, "a.c", 2, "x")]
    assert [line.insn for line in LoopBody("main", 0, b"").place_lines(lines)] == [0, 2]
    assert [line.insn for line in LoopBody("body", 8, b"").place_lines(lines)] == [8, 12]
