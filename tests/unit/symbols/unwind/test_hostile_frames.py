"""Test unwind tables of files that say what no compiler writes."""

from __future__ import annotations

import os
import random
import struct

import numpy as np
import pytest

from pytracer.budget import OverBudgetError
from pytracer.symbols import elf_tables
from pytracer.symbols.elf_tables import ElfError
from pytracer.symbols.unwind import table
from pytracer.symbols.unwind.table import Rule
from support import elf_builder, readelf_frames
from support.budgets import UID, budget_with

CODE = 0x401000  # 0x1000 bytes
# Version 1, "zR", factors 1 and -8, column 16, pointers as words; def_cfa rsp+8, offset rip at CFA-8.
HEAD = b"\x01zR\0\x01\x78\x10\x01\x00"
START = bytes((0x0C, 7, 8, 0x90, 1))
ADVANCE, PUSH, REMEMBER, RESTORE = b"\x41", b"\x0e\x10", b"\x0a", b"\x0b"
NONE, EXPRESSION = Rule.NONE, Rule.EXPRESSION


def entry(identity, body):
    return struct.pack("<II", len(body) + 4, identity & 0xFFFFFFFF) + body


class Section:
    """Call frame information, entry by entry."""

    def __init__(self, head=HEAD, program=START):
        self.data = entry(0, head + program)

    def add(self, program=b"", start=CODE + 0x10, size=0x10, parent=0):
        self.data += entry(len(self.data) + 4 - parent, struct.pack("<qQ", start, size) + b"\0" + program)
        return self

    def build(self, **limits):
        file = elf_builder.build_with_section(b".eh_frame", self.data, address=0x500000)
        memory = os.memfd_create("test")
        try:
            os.write(memory, file)
            account = budget_with(**limits).account(UID, "file")
            return table.build(elf_tables.read(memory, account))
        finally:
            os.close(memory)

    def rows(self):
        built = self.build()
        assert built.base == CODE
        return [(start, offset, rule) for start, offset, _, rule in built.rows.tolist()]


def test_a_sound_entry():
    assert Section().add(ADVANCE + PUSH + b"\x86\x02").rows() == [
        (0, 0, NONE), (0x10, 1, Rule.RSP), (0x11, 2, Rule.RSP), (0x20, 0, NONE),
    ]  # fmt: skip


def test_an_entry_that_covers_everything_ends_where_code_does():
    assert Section().add(size=1 << 63).add(start=CODE + 0x10, size=(1 << 64) - 1).rows() == [
        (0, 0, NONE), (0x10, 1, Rule.RSP), (0x1000, 0, NONE),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "start", [0, 1, CODE - 1, CODE + 0x1000, 1 << 40, (1 << 63) - 1, -1, -(1 << 63)], ids=hex
)
def test_entries_outside_of_code_do_not_count(start):
    assert Section().add(start=start).rows() == [(0, 0, NONE)]


def test_entries_that_overlap():
    section = Section().add(size=0x40).add(PUSH, start=CODE + 0x20, size=0x10).add(PUSH, size=0x20)
    assert section.rows() == [
        (0, 0, NONE), (0x10, 1, Rule.RSP), (0x20, 2, Rule.RSP), (0x30, 0, NONE),
    ]  # fmt: skip


def test_entries_in_any_order():
    section = Section()
    for start in (0x80, 0x20, 0x60, 0x40):
        section.add(ADVANCE + PUSH, start=CODE + start, size=0x20)
    assert [row[0] for row in section.rows()] == [
        0, 0x20, 0x21, 0x40, 0x41, 0x60, 0x61, 0x80, 0x81, 0xA0,
    ]  # fmt: skip


def test_rows_behind_the_end_of_an_entry_do_not_count():
    program = b"\x04\xff\xff\xff\xff" * 1000 + PUSH
    assert Section().add(program).rows() == Section().add().rows()


@pytest.mark.parametrize(
    "program",
    [
        RESTORE,
        REMEMBER + RESTORE * 2,
        b"\x3f",  # no instruction
        b"\x01" + bytes(8),  # DW_CFA_set_loc
        b"\x0c\x07",  # ends within an instruction
        b"\x0e" + b"\x80" * 50,
        b"\x04\x01",
        b"\x0f\x7f",  # an expression that is longer than the entry
        b"\x0f" + b"\xff" * 9 + b"\x01",
        b"\x10\x06" + b"\xff" * 9 + b"\x7f",
    ],
    ids=bytes.hex,
)
def test_what_cannot_be_run_ends_the_stack(program):
    section = Section().add(ADVANCE + PUSH + program).add(start=CODE + 0x40)
    assert section.rows() == [
        (0, 0, NONE), (0x10, 0, EXPRESSION), (0x20, 0, NONE), (0x40, 1, Rule.RSP), (0x50, 0, NONE),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (b"\x0e\x09", EXPRESSION),  # no word
        (b"\x0e\x80\x80\x20", EXPRESSION),  # 65,536 words
        (b"\x0e\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", EXPRESSION),
        (b"\x13\x01", EXPRESSION),  # below the stack pointer
        (b"\x0d\x0a", Rule.REGISTER),
        (b"\x90\x02", EXPRESSION),  # the return address elsewhere
        (b"\x09\x10\x00", EXPRESSION),
        (b"\x07\x10", Rule.END),
        (b"\x86\x80\x02", EXPRESSION),  # RBP too far away
        (b"\x09\x06\x03", EXPRESSION),
        (b"\x05\x07\x02", EXPRESSION),  # RSP saved
        (b"\x14\x07\x00", Rule.RSP),  # RSP as it always is
        (b"\x0f\x03\x76\x78\x06", Rule.DEREF_RBP),
        (b"\x0f\x03\x76\x79\x06", EXPRESSION),
        (b"\x0f\x05\x77\x08\x06\x23\x08", Rule.SAVED_RSP),
        (b"\x0f\x05\x77\x09\x06\x23\x08", EXPRESSION),
        (b"\x0f\x07\x77\x80\x80\x08\x06\x23\x08", EXPRESSION),  # too far away
        (b"\x0f\x05\x77\x08\x06\x23\x10", EXPRESSION),
        (b"\x0f\x01\x76", EXPRESSION),
        (b"\x0f\x0f\x76" + b"\x80" * 12 + b"\x40\x06", EXPRESSION),
        (b"\x0f\x05\x76\x80\x80\x60\x06", EXPRESSION),
        (b"\x0e\x10\x0f\x01\x76\x0d\x07", Rule.RSP),  # the offset stays
        (b"\x0f\x00", EXPRESSION),
        (b"\x0f\x01\x06", EXPRESSION),
        (b"\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x3a\x2a\x33\x24\x22", Rule.PLT),
        (b"\x0f\x04\x77\xa0\x01\x06", EXPRESSION),  # without the registers of a signal's frame
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else value.name,
)
def test_rules(program, expected):
    assert Section().add(program).rows()[1][2] == expected


@pytest.mark.parametrize(
    ("expression", "words", "base"),
    [("77d800", 11, 0), ("7778", -1, 0), ("7700", 0, 0), ("76f800", 15, 1)],
)
def test_a_saved_stack_pointer(expression, words, base):
    block = bytes.fromhex(expression) + b"\x06\x23\x08"
    _, offset, rule = Section().add(b"\x0f" + bytes((len(block),)) + block).rows()[1]
    assert rule == Rule.SAVED_RSP
    assert (np.int16(np.uint16(offset)) >> 1, offset & 1) == (words, base)


def test_states_are_remembered_in_each_other():
    deep = Section().add(REMEMBER * 9999 + PUSH + ADVANCE + RESTORE * 9999 + ADVANCE + PUSH)
    assert deep.rows() == [
        (0, 0, NONE), (0x10, 2, Rule.RSP), (0x11, 1, Rule.RSP), (0x12, 2, Rule.RSP), (0x20, 0, NONE),
    ]  # fmt: skip
    chained = b"".join(
        b"\x0e" + bytes((8 * n,)) + REMEMBER + b"\x0e\x70" + RESTORE + ADVANCE for n in (2, 3, 4)
    )
    assert [row[1] for row in Section().add(chained).rows()] == [0, 2, 3, 4, 0]


def random_program(generator):
    """Return a valid program of some fifty instructions."""
    program, depth = b"", 0
    for _ in range(50):
        offset, small = generator.randrange(1, 100), generator.randrange(1, 4)
        choices = [
            bytes((0x40 | small,)), bytes((0x40 | small,)), bytes((0x02, small)), bytes((0x03, small, 0)),
            bytes((0x0E, 8 * small)), bytes((0x0C, generator.choice((6, 7, 12)), 8 * small)),
            bytes((0x0D, generator.choice((6, 7, 10)))), bytes((0x12, 7, 0x80 - small)),
            bytes((0x13, 0x80 - small)),
            bytes((0x80 | generator.choice((3, 6, 6, 12)), offset)), bytes((0x05, 6, 0x80 | small, 1)),
            b"\xc6", b"\xc3", b"\x06\x06", b"\x08\x06", b"\x07\x06", b"\x2e\x10", b"\x00",
            b"\x09\x06\x0c", b"\x0a",
        ]  # fmt: skip
        choices += [b"\x0b"] * (2 if depth else 0)
        chosen = generator.choice(choices)
        depth += (chosen == REMEMBER) - (chosen == RESTORE)
        program += chosen
    return program


@pytest.mark.parametrize("seed", range(5))
def test_random_programs_are_what_readelf_shows(tmp_path, seed):
    generator = random.Random(seed)
    section = Section(program=START + b"\x86\x03" * (seed % 2))
    for number in range(32):
        section.add(random_program(generator), start=CODE + 0x80 * number, size=0x80)
    path = tmp_path / "file"
    path.write_bytes(elf_builder.build_with_section(b".eh_frame", section.data, address=0x500000))
    expected = readelf_frames.read(path, CODE)
    assert section.build().rows.tolist() == expected.tolist()
    assert len(expected) > 150


@pytest.mark.parametrize("parent", [-8, 4, 8, 1 << 20, 30], ids=str)
def test_entries_that_belong_to_none_do_not_count(parent):
    assert Section().add(parent=parent).rows() == [(0, 0, NONE)]


@pytest.mark.parametrize(
    "head",
    [
        b"\x02zR\0\x01\x78\x10\x01\x00",  # a version
        b"\x01zX",
        b"\x01abc\0\x01\x78\x10",
        b"\x01zR\0" + b"\x80" * 30,
        b"\x01zR\0\x01\x78\x10\x01\x0f",  # an encoding
        b"\x01zR\0\x01\x78\x10\x01\x50",
        b"",
    ],
    ids=bytes.hex,
)
def test_broken_common_entries(head):
    assert Section(head, b"").add().rows() == [(0, 0, NONE)]


@pytest.mark.parametrize(
    ("head", "program"),
    [
        (b"\x01zR\0\x01\x78\x11\x01\x00", START),  # another return address
        (b"\x01zR\0\xff\xff\x7f\x78\x10\x01\x00", START),
        (b"\x01zR\0\x01\xff\xff\x80\x7f\x10\x01\x00", START),
        (HEAD, START + RESTORE),
        (HEAD, b""),  # nothing is known
    ],
    ids=["column", "code", "data", "state", "empty"],
)
def test_common_entries_that_no_row_can_follow(head, program):
    assert Section(head, program).add().rows() == [(0, 0, NONE), (0x10, 0, EXPRESSION), (0x20, 0, NONE)]


def test_lengths_without_end():
    for length in (0, 1, 0xFFFFFFFF, 0xFFFFFFF0, 0x7FFFFFFF):
        section = Section().add()
        section.data += struct.pack("<I", length) + bytes(64)
        assert len(section.rows()) == 3


def test_the_time_is_bounded():
    section = Section()
    for _ in range(20):
        section.add(bytes(900_000))
    with pytest.raises(OverBudgetError):
        section.build(cpu=0.001, share=0.0)


def test_the_entries_are_bounded(monkeypatch):
    section = Section()
    for _ in range(10_000):
        section.add()
    with pytest.raises(OverBudgetError):
        section.build(entries=5000)
    monkeypatch.setattr("pytracer.symbols.unwind.entries._ENTRIES_LIMIT", 8192)
    with pytest.raises(ElfError, match="too many"):
        section.build()
    monkeypatch.undo()
    monkeypatch.setattr(table, "_ROWS_LIMIT", 1)
    with pytest.raises(ElfError, match="too large"):
        Section().add(ADVANCE + PUSH).build()


@pytest.mark.parametrize("address", [1 << 47, (1 << 63) - 1, 1 << 63, (1 << 64) - 1], ids=hex)
def test_sections_outside_of_user_space(address):
    file = elf_builder.build_with_section(b".eh_frame", Section().add().data, address=address)
    memory = os.memfd_create("test")
    try:
        os.write(memory, file)
        with pytest.raises(ElfError, match="outside"):
            table.build(elf_tables.read(memory))
    finally:
        os.close(memory)
