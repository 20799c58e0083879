"""Test the assembler of classic BPF: encodings byte for byte, jumps of any length, and errors."""

from __future__ import annotations

import random
import struct

import pytest

from pytracer.bpf.asm.classic import MOST, ClassicAssembler
from pytracer.errors import BuildError
from support.classic_bpf import decode, run


def assembled(write) -> list[tuple[int, int, int, int]]:
    a = ClassicAssembler()
    write(a)
    return decode(a.assemble())


def words(*values: int) -> bytes:
    return struct.pack(f"={len(values)}I", *values)


@pytest.mark.parametrize(
    ("method", "arguments", "encoded"),  # as the kernel's macros BPF_STMT and BPF_JUMP make them
    [
        ("load", (4,), (0x20, 0, 0, 4)),
        ("ret", (0x7FFF0000,), (0x06, 0, 0, 0x7FFF0000)),
        ("alu", ("&=", 0xFF), (0x54, 0, 0, 0xFF)),
        ("alu", ("+=", 1), (0x04, 0, 0, 1)),
        ("alu", ("^=", 1), (0xA4, 0, 0, 1)),
    ],
)
def test_single_instructions_are_translated(method, arguments, encoded):
    assert assembled(lambda a: getattr(a, method)(*arguments)) == [encoded]


@pytest.mark.parametrize(
    ("condition", "encoded"),
    [
        ("==", (0x15, 1, 0, 7)),
        (">", (0x25, 1, 0, 7)),
        (">=", (0x35, 1, 0, 7)),
        ("&", (0x45, 1, 0, 7)),
        ("!=", (0x15, 0, 1, 7)),
        ("<", (0x35, 0, 1, 7)),
        ("<=", (0x25, 0, 1, 7)),
    ],
)
def test_conditions_and_their_opposites(condition, encoded):
    def write(a):
        a.jump_if(condition, 7, "yes")
        a.ret(0)
        a.label("yes")
        a.ret(1)

    assert assembled(write)[0] == encoded


def test_a_short_jump_needs_no_extra_instruction():
    def write(a):
        a.jump_if("==", 1, "end", "middle")
        a.ret(0)
        a.label("middle")
        for _ in range(254):
            a.ret(2)
        a.label("end")
        a.ret(1)

    program = assembled(write)
    assert len(program) == 257
    assert program[0] == (0x15, 255, 1, 1)


@pytest.mark.parametrize("between", [254, 255, 256, 300, 1000])
@pytest.mark.parametrize("condition", ["==", "!="])
def test_jumps_of_any_length_reach_their_targets(between, condition):
    def write(a):
        a.load(0)
        a.jump_if(condition, 1, "far")
        a.jump_if(condition, 2, "far", "far too")
        for _ in range(between):
            a.ret(9)
        a.label("far")
        a.ret(1)
        a.label("far too")
        a.ret(2)

    program = assembled(write)
    assert len(program) <= between + 5 + 3
    for value in (1, 2, 3):
        holds = [(value == k) == (condition == "==") for k in (1, 2)]
        assert run(program, words(value)) == (1 if any(holds) else 2)


def test_a_jump_put_in_may_push_another_label_out_of_reach():
    rng = random.Random(7)
    for _ in range(30):
        length = rng.randrange(400, 900)
        # A chain of questions: the value n is answered at label n, anything else falls through to the end.
        places = sorted(rng.sample(range(length), 60))

        def write(a, places=places, length=length):
            a.load(0)
            for number in range(len(places)):
                a.jump_if("==", number, str(number))
            for index in range(length):
                if index in places:
                    a.label(str(places.index(index)))
                a.ret(index)

        program = assembled(write)
        for number, position in enumerate(places):
            assert run(program, words(number)) == position
        assert run(program, words(60)) == 0


def test_unconditional_jumps():
    def write(a):
        a.jump("out")
        for _ in range(1000):
            a.ret(0)
        a.label("out")
        a.ret(5)

    assert run(assembled(write), b"") == 5


def jump_back(a):
    a.label("top")
    a.load(0)
    a.jump("top")


def jump_beyond(a):
    a.jump_if("==", 1, "end")
    a.ret(0)
    a.label("end")


def twice(a):
    a.label("x")
    a.ret(0)
    a.label("x")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda a: a.jump("nowhere"), "no such label"),
        (jump_back, "only jumps forward"),
        (jump_beyond, "leaves the program"),
        (twice, "defined twice"),
        (lambda a: a.label(""), "needs a name"),
        (lambda a: a.ret(1 << 32), "32 bits"),
        (lambda a: a.ret(-1), "32 bits"),
        (lambda a: a.jump_if("s>", 1, "x"), "no condition 's>'"),
        (lambda a: a.alu("s>>=", 1), "no operation 's>>='"),
        (lambda a: [a.ret(0) for _ in range(MOST + 1)], "4097 instructions; the kernel takes 4096"),
    ],
)
def test_invalid_programs_are_refused(write, message):
    with pytest.raises(BuildError, match=message):
        assembled(write)
