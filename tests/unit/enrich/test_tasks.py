"""Test states and stacks of threads as text."""

from __future__ import annotations

import struct

import pytest

from pytracer.enrich import tasks
from pytracer.enrich.flags import file_type
from pytracer.symbols.kernel import KernelSymbols


@pytest.mark.parametrize(
    ("state", "letter"),
    [
        (0, "R"), (1, "S"), (2, "D"), (4, "T"), (8, "t"), (0x10, "X"), (0x20, "Z"), (0x40, "P"), (0x402, "I"),
        (0x400, "R"), (0x2 | 0x100, "D"), (0x20 | 0x80, "Z"), (0x200, "R"), (0x800, "R"), (0x1000, "D"),
        (0x8000, "D"),
    ],
)  # fmt: skip
def test_states(state, letter):
    assert tasks.task_state(state) == letter


def test_stacks(monkeypatch, tmp_path):
    symbols = tmp_path / "kallsyms"
    symbols.write_text(
        "ffffffff81000000 T _stext\n"
        "ffffffff81001000 T schedule\n"
        "ffffffff81002000 T do_nanosleep\n"
        "ffffffff81003000 T next_one\n"
        "ffffffff81900000 T _etext\n"
    )
    monkeypatch.setattr("pytracer.enrich.tasks.KernelSymbols", lambda: KernelSymbols(symbols))
    decode = tasks.kernel_stack_decoder()
    # The second is a return address: behind the end of the function that called.
    assert decode(struct.pack("QQ", 0xFFFFFFFF81001000, 0xFFFFFFFF81003000)) == "schedule;do_nanosleep"
    assert decode(b"") == ""
    deep = decode(struct.pack("64Q", *[0xFFFFFFFF81001004] * 64))
    assert deep.split(";")[62:] == ["schedule", "schedule", "[cut]"]


@pytest.mark.parametrize(
    ("mode", "name"), [(0o100000, "file"), (0o40000, "dir"), (0, "anon"), (0o70000, "unknown:0o70000")]
)
def test_types_of_files(mode, name):
    assert file_type(mode) == name
