"""Test functions of stripped Go programs against the symbols of the same programs."""

from __future__ import annotations

import random
import re
import struct

import numpy as np
import pytest

from pytracer.errors import PytracerError
from pytracer.symbols import elf, elf_tables, pclntab, places, program_files
from pytracer.symbols.code import analyze
from pytracer.symbols.elf_tables import ElfError
from support.compilers import compile_files
from support.elf_builder import build

SOURCE = """package main

import "os"

type Pair[T any] struct{ left, right T }

//go:noinline
func (p *Pair[T]) Swap() { p.left, p.right = p.right, p.left }

//go:noinline
func Work(n int) int { return n * 3 }

func main() {
	pair := Pair[int]{1, 2}
	pair.Swap()
	os.Exit(Work(pair.left) - 6)
}
"""
STRIP = "-ldflags=-s -w"


@pytest.fixture(scope="module", params=["exe", "pie"])
def programs(request, tmp_path_factory):
    """Open the same program, whole and stripped."""
    folder = tmp_path_factory.mktemp("go")
    mode = f"-buildmode={request.param}"
    names = [
        compile_files(folder, {"main.go": SOURCE}, mode, *options, output=name)
        for name, options in (("whole", []), ("stripped", [STRIP]))
    ]
    with program_files.find(str(names[0])) as full, program_files.find(str(names[1])) as stripped:
        yield full, stripped


def starts(table):
    """Return the names and addresses of a table. In symbols alone Go tells functions of its older convention
    apart, and has type arguments."""
    names = (elf_tables.name_at(table.strings, name).removesuffix(".abi0") for name in table.names.tolist())
    short = [re.sub(r"\[.*\]", "[...]", name) for name in names]
    return set(zip(short, table.starts.tolist(), strict=True))


def test_the_functions_of_a_stripped_program_are_those_of_its_symbols(programs):
    full, stripped = programs
    with full.reading() as read_whole, stripped.reading() as read_stripped:
        [symbols] = [table for table in full.symbols if table.whole]
        functions = starts(pclntab.read(read_whole))
        assert starts(pclntab.read(read_stripped)) == set().union(*map(starts, stripped.symbols))
        names = {name for name, _ in starts(pclntab.read(read_stripped))}
    assert len(functions) > 1000
    assert functions <= starts(symbols)
    assert {"main.main", "main.Work", "runtime.mallocgc"} <= names
    assert any(name.startswith("main.(*Pair[") and name.endswith(".Swap") for name in names)


def test_a_function_of_a_stripped_program_can_be_named_and_its_returns_are_found(programs):
    full, stripped = programs
    for file in (full, stripped):
        [site] = places.find(file, "main.Work").sites
        code = analyze(file, site)
        assert code.goroutine
        assert code.exits
    with pytest.raises(PytracerError, match=r"no function of"):
        places.find(stripped, "main.Wrok")


def test_addresses_of_a_stripped_program_have_names(programs):
    _, stripped = programs
    with stripped.reading() as reader:
        table = pclntab.read(reader)
    names = [elf_tables.name_at(table.strings, name) for name in table.names.tolist()]
    index = names.index("main.Work")
    start, size = int(table.starts[index]), int(table.sizes[index])
    functions = elf.read(stripped.descriptor).functions
    program_counters = np.array([start, start + 1, start + size - 1], np.uint64)
    assert functions.find(program_counters) == ["main.Work"] * 3


# Tables of every layout, made here.

NAMES = ["main.a", "", "main.b", "main.c"]
BASE = 0x1000


def build_table(magic: int, word: int = 8) -> bytes:
    """Return a table of four functions of 16 bytes each, the second without a name."""
    letter = "Q" if word == 8 else "I"
    head = struct.pack("=IBBBB", magic, 0, 0, 1, word)
    names, places_of = b"", []
    for name in NAMES:
        places_of.append(len(names))
        names += name.encode() + b"\0"
    short = magic in (0xFFFFFFF0, 0xFFFFFFF1)
    entry = "I" if short else letter
    begins = [index * 16 + (0 if short else BASE) for index in range(5)]
    start = struct.calcsize(f"={2 * 4 + 1}{entry}")
    described, offsets = b"", []
    if magic == 0xFFFFFFFB:
        table = 8 + word
        index = table + start + 4
        names_at = index + 4 * (word + 4)
        for begin, offset in zip(begins[:4], places_of, strict=True):
            offsets.append(index + len(described))
            described += struct.pack(f"={letter}i", begin, names_at + offset)
        pairs = [value for pair in zip(begins[:4], offsets, strict=True) for value in pair] + begins[-1:]
        return (
            head + struct.pack(f"={letter}", 4) + struct.pack(f"=9{letter}I", *pairs, 0) + described + names
        )
    for begin, offset in zip(begins[:4], places_of, strict=True):
        offsets.append(start + len(described))
        described += struct.pack(f"={entry}i", begin, offset)
    pairs = [value for pair in zip(begins[:4], offsets, strict=True) for value in pair] + begins[-1:]
    words = 8 if short else 7
    names_at = 8 + words * word
    code_at = names_at + len(names)
    numbers = [4, 0, BASE, names_at, 0, 0, 0, code_at] if short else [4, 0, names_at, 0, 0, 0, code_at]
    return (
        head
        + struct.pack(f"={words}{letter}", *numbers)
        + names
        + struct.pack(f"=9{entry}", *pairs)
        + described
    )


MAGICS = [0xFFFFFFFB, 0xFFFFFFFA, 0xFFFFFFF0, 0xFFFFFFF1]


class Account:
    """An account without a limit."""

    def reserved(self, entries: int = 0, memory: int = 0):
        import contextlib

        return contextlib.nullcontext()


class File:
    """A file with code at BASE, and one section."""

    width, machine = 2, 62
    account = Account()

    def __init__(self, data: bytes) -> None:
        self.data = data

    def section(self, name: bytes):
        return {"size": len(self.data), "addr": 0x9000} if name == b".gopclntab" else None

    def content(self, section) -> bytes:
        return self.data

    def loaded(self, flag: int):
        return [{"vaddr": BASE, "filesz": 0x1000}]


@pytest.mark.parametrize("magic", MAGICS)
def test_each_layout(magic):
    parsed = pclntab.read(File(build_table(magic)))
    assert parsed is not None
    assert [elf_tables.name_at(parsed.strings, offset) for offset in parsed.names.tolist()] == [
        "main.a",
        "main.b",
        "main.c",
    ]
    assert parsed.starts.tolist() == [BASE, BASE + 32, BASE + 48]
    assert parsed.sizes.tolist() == [16] * 3


@pytest.mark.parametrize("magic", MAGICS)
def test_damaged_tables_are_an_error_or_empty(magic):
    data = build_table(magic)
    for size in range(len(data)):
        read(File(data[:size]))
    rng = random.Random(magic)
    for _ in range(3000):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            position = rng.randrange(len(data))
            changed[position : position + rng.choice((1, 2, 4, 8))] = rng.choice(
                (b"\xff", b"\0", b"\x7f\xff\xff\xff", b"\xff" * 8, bytes([rng.randrange(256)]))
            )
        read(File(bytes(changed)))


def read(file: File) -> None:
    """Check that all results lie within the file and the table."""
    try:
        parsed = pclntab.read(file)
    except ElfError:
        return
    if parsed is None:
        return
    assert len(parsed.names) == len(parsed.starts) == len(parsed.sizes)
    assert (parsed.names > 0).all()
    assert (parsed.names < len(parsed.strings) - 2).all()
    assert (parsed.starts >= BASE).all()
    assert (parsed.starts < BASE + 0x1000).all()


def test_other_files_have_no_such_functions(tmp_path):
    path = tmp_path / "plain.so"
    path.write_bytes(build())
    with program_files.find(str(path)) as file, file.reading() as elf_:
        assert pclntab.read(elf_) is None
