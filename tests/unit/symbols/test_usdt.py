"""Test USDT notes, valid and broken at random, and the arguments in all spellings of two machines."""

from __future__ import annotations

import os
import random
import struct

import numpy as np
import pytest

from pytracer.budget import of_file
from pytracer.errors import UsageError
from pytracer.record import replace
from pytracer.spec import ProbeSite
from pytracer.symbols import elf_tables, program_files, symtab, usdt, usdt_args
from pytracer.symbols.elf_tables import ElfError, Tables
from pytracer.symbols.usdt_args import (
    INDEX_SIGNED,
    INDEX_UNSIGNED,
    NO_REGISTER,
    UsdtArgument,
)
from support.compilers import compile_files

X86_64, I386, AARCH64, RISCV = 62, 3, 183, 243
BASE, CODE, DATA = 0x9000, 0x1000, 0x5000


def note(
    provider, name, arguments=b"", *, address=CODE + 0x10, base=BASE, semaphore=0, owner=b"stapsdt\0", width=2
):
    data = struct.pack("QQQ" if width == 2 else "III", address, base, semaphore)
    data += b"\0".join((provider, name, arguments)) + b"\0"
    pad = bytes(-len(data) % 4)
    return struct.pack("III", len(owner), len(data), 3) + owner + data + pad


@pytest.fixture
def elf(tmp_path):
    """Build a file with these notes, code and data. Returns its tables, and where .stapsdt.base is."""
    files = []

    def make(notes, *, base=BASE, machine=X86_64, width=2):
        path = tmp_path / f"file{len(files)}"
        path.write_bytes(notes)
        descriptor = os.open(path, os.O_RDONLY)
        files.append(descriptor)
        names = b"\0.note.stapsdt\0.stapsdt.base\0"
        sections = np.zeros(3, elf_tables._section_fields(2))
        sections[1] = (1, 7, 0, 0, 0, len(notes), 0, 0, 4, 0)
        sections[2] = (15, 1, 0, base, 0, 1, 0, 0, 1, 0)
        segments = np.zeros(2, elf_tables._SEGMENT[2])
        segments[0] = (1, 5, 0x400, CODE, 0, 0x100, 0x100, 1)
        segments[1] = (1, 6, 0x800, DATA, 0, 0x100, 0x200, 1)
        return Tables(descriptor, width, 3, machine, segments, sections, names, of_file(descriptor))

    yield make
    for descriptor in files:
        os.close(descriptor)


def test_a_note_has_an_address_and_arguments(elf):
    notes = note(b"app", b"start") + note(
        b"app", b"done", b"8@%rax -4@$5", address=CODE + 0x20, semaphore=DATA + 2
    )
    start, result = usdt.usdt_probes(elf(notes))
    assert (start.title, start.site, start.arguments) == ("app:start", ProbeSite("app:start", 0x410), ())
    assert replace(result.site, arguments=()) == ProbeSite("app:done", 0x420, 0x802)
    assert [operand.size for operand in result.site.arguments] == [8, -4]
    assert [argument.text for argument in result.arguments] == ["8@%rax", "-4@$5"]


def test_a_file_that_was_moved_since_is_put_right(elf):
    [mark] = usdt.usdt_probes(elf(note(b"a", b"b", address=0x10, base=BASE - CODE, semaphore=DATA - CODE)))
    assert mark.site == ProbeSite("a:b", 0x410, 0x800)


def test_32_bit_notes(elf):
    [mark] = usdt.usdt_probes(elf(note(b"a", b"b", b"4@%eax", width=1), width=1, machine=I386))
    assert (mark.site.offset, mark.arguments[0].narrow, mark.arguments[0].base) == (0x410, True, 80)


def test_a_semaphore_that_is_in_no_file_cannot_be_counted(elf):
    [mark] = usdt.usdt_probes(elf(note(b"a", b"b", semaphore=DATA + 0x180)))  # memory only (.bss)
    assert (mark.semaphore, mark.site.semaphore) == (DATA + 0x180, 0)


def test_foreign_notes_are_skipped(elf):
    notes = note(b"a", b"b", owner=b"GNU\0") + note(b"a", b"nowhere", address=0x9999) + note(b"a", b"kept")
    assert [mark.name for mark in usdt.usdt_probes(elf(notes))] == ["kept"]


def test_broken_notes_are_none_or_others(elf):
    notes = note(b"app", b"start", b"8@%rax") * 3
    rng = random.Random(7)
    for _ in range(300):
        broken = bytearray(notes)
        for _ in range(rng.randrange(1, 6)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        try:
            list(usdt.usdt_probes(elf(bytes(broken[: rng.randrange(len(broken))]))))
        except ElfError:
            pass


def test_patterns_are_of_whole_names(elf):
    symbols = list(
        usdt.usdt_probes(elf(note(b"py", b"gc__start") + note(b"py", b"gc__done") + note(b"rb", b"gc__done")))
    )
    for provider, name, count in (("", "gc__*", 3), ("py", "gc__*", 2), ("", "gc", 0), ("?b", "*done", 1)):
        assert len(usdt.matching(symbols, provider, name)) == count
    with pytest.raises(UsageError) as excinfo:
        raise usdt.none_called("x", "py", "gc_start", symbols)
    assert excinfo.value.message == "no USDT probe of x 'py:gc_start'"
    assert excinfo.value.hint.startswith("did you mean py:gc__start")


def parsed(text, elf, machine, width=2):
    return usdt_args.parse(text, elf(b"", machine=machine, width=width), CODE)


NO = NO_REGISTER
AX, BX, CX, BP, SP, IP, R10, SI = 80, 40, 88, 32, 152, 128, 56, 104


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8@%rbx", UsdtArgument(base=BX)),
        ("-4@%eax", UsdtArgument(base=AX, size=4, signed=True)),
        ("1@%al", UsdtArgument(base=AX, size=1)),
        ("1@%ah", UsdtArgument(base=AX, size=1, shift=8)),
        ("-2@%r10w", UsdtArgument(base=R10, size=2, signed=True)),
        ("1@%sil", UsdtArgument(base=SI, size=1)),
        ("%rbx", UsdtArgument(base=BX)),
        ("4@$5", UsdtArgument(add=5, size=4)),
        ("-8@$-9", UsdtArgument(add=-9, signed=True)),
        ("8@$0xffffffffffffffff", UsdtArgument(add=-1)),
        ("8@112(%rsp)", UsdtArgument(base=SP, add=112, dereference=True)),
        ("8@(%rax)", UsdtArgument(base=AX, dereference=True)),
        ("4@-0x8(%rbp,%rcx,4)", UsdtArgument(base=BP, index=CX, scale=2, add=-8, size=4, dereference=True)),
        ("8@(%rax,%rbx)", UsdtArgument(base=AX, index=BX, dereference=True)),
        ("8@(,%rbx,8)", UsdtArgument(index=BX, scale=3, dereference=True)),
        # as gcc 12 writes them with sys/sdt.h 4.8, unoptimised and optimised
        ("-8@-8(%rbp)", UsdtArgument(base=BP, add=-8, signed=True, dereference=True)),
        ("-2@$7", UsdtArgument(add=7, size=2, signed=True)),
        ("1@$-56", UsdtArgument(add=-56, size=1)),
        (
            "-4@16(%rsp,%rax,4)",
            UsdtArgument(base=SP, index=AX, scale=2, add=16, size=4, signed=True, dereference=True),
        ),
        ("8@8-16+4(%rax)", UsdtArgument(base=AX, add=-4, dereference=True)),
    ],
)
def test_x86_64(text, expected, elf):
    [argument] = parsed(text, elf, X86_64)
    assert argument == UsdtArgument(**{**vars(expected), "text": text})


X0, X1, X2, SP64 = 0, 8, 16, 248


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8@x0", UsdtArgument(base=X0)),
        ("-4@w1", UsdtArgument(base=X1, size=4, signed=True)),
        ("8@sp", UsdtArgument(base=SP64)),
        ("8@xzr", UsdtArgument()),
        ("8@5", UsdtArgument(add=5)),
        ("-4@#-7", UsdtArgument(add=-7, size=4, signed=True)),
        ("8@[x1]", UsdtArgument(base=X1, dereference=True)),
        ("-4@[sp, 60]", UsdtArgument(base=SP64, add=60, size=4, signed=True, dereference=True)),
        ("8@[sp,#-8]", UsdtArgument(base=SP64, add=-8, dereference=True)),
        ("8@[x0, x1]", UsdtArgument(base=X0, index=X1, dereference=True)),
        ("8@[x1,x2,lsl 3]", UsdtArgument(base=X1, index=X2, scale=3, dereference=True)),
        (
            "4@[x0, w1, sxtw 2]",
            UsdtArgument(base=X0, index=X1, scale=2, size=4, extend=INDEX_SIGNED, dereference=True),
        ),
        (
            "4@[x0, w1, uxtw]",
            UsdtArgument(base=X0, index=X1, size=4, extend=INDEX_UNSIGNED, dereference=True),
        ),
    ],
)
def test_arm64(text, expected, elf):
    [argument] = parsed(text, elf, AARCH64)
    assert argument == UsdtArgument(**{**vars(expected), "text": text})


@pytest.mark.parametrize(
    ("machine", "text", "reason"),
    [
        (X86_64, "8f@%xmm0", "floating-point"),
        (X86_64, "8f@.LC1(%rip)", "floating-point"),
        (X86_64, "8@%xmm0", "register xmm0"),
        (X86_64, "4@%fs:16", "form is not known"),
        (X86_64, "4@foo@GOTPCREL(%rip)", "form is not known"),
        (X86_64, "16@%rax", "16 bytes"),
        (X86_64, "8@nosuch(%rip)", "where nosuch is"),
        (X86_64, "8@4(%rip)", "next instruction"),
        (X86_64, "8@$nosuch", "form is not known"),
        (AARCH64, "8@d0", "register d0"),
        (AARCH64, "8@[x0, #:lo12:foo]", "form is not known"),
        (AARCH64, "8@[x0], 8", "form is not known"),
        (AARCH64, "8@[x0, 8]!", "form is not known"),
        (RISCV, "8@a0", "machine"),
    ],
)
def test_only_the_unreadable_argument_is_null(machine, text, reason, elf):
    good = "8@x3" if machine == AARCH64 else "8@%rax"
    first, bad, last = parsed(f"{good} {text} {good}", elf, machine)
    assert reason in bad.problem
    assert bad.pack() == struct.pack("=qHHBBBB", 0, NO, NO, 0, 0, 0, 0)
    assert first == last
    assert bool(first.problem) is (machine == RISCV)


def test_arguments_are_packed_as_the_c_has_them(elf):
    [argument] = parsed("-4@-0x8(%rbp,%rcx,4)", elf, X86_64)
    assert argument.pack() == struct.pack("=qHHBBBB", -8, BP, CX, 2, 1 | 2, 4, 0)
    assert len(argument.pack()) == usdt_args.SIZE == 16


@pytest.mark.parametrize(
    ("operand", "distance"),
    [("table(%rip)", 0), ("table+24(%rip)", 24), ("24+table(%rip)", 24), ("24+table-8(%rip)", 16)],
)
def test_operands_that_are_a_symbol_and_numbers_before_or_behind_it(tmp_path, operand, distance):
    """Compilers write members of static structs like this."""
    source = f"""
    .globl place
    .type place, @function
place:
    nop
    .size place, .-place
    .bss
    .globl table
    .type table, @object
    .size table, 64
table:
    .zero 64
    .section .note.stapsdt, "", "note"
    .balign 4
    .4byte 8, 2f-1f, 3
    .asciz "stapsdt"
1:  .8byte place, 0, 0
    .asciz "mine", "probe", "8@{operand}"
2:  .balign 4
"""
    program = compile_files(tmp_path, {"p.s": source}, "-shared", "-nostdlib")
    with program_files.find(str(program)) as file, file.reading() as reader:
        [mark] = usdt.usdt_probes(reader)
        [argument] = mark.arguments
        table = next(
            int(symbol["value"])
            for symbols, strings, _ in symtab.symbol_tables(reader)
            for symbol in symbols
            if strings[symbol["name"] :].startswith(b"table\0")
        )
    assert not argument.problem
    assert (argument.base, argument.add) == (IP, table + distance - mark.address)
    assert argument.dereference
