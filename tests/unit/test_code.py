"""Where calls of programs' functions end, by their machine code."""

from __future__ import annotations

import subprocess

import pytest

from pytracer.errors import UsageError
from pytracer.spec import ExitKind, FunctionCode
from pytracer.symbols import code, files, places

SIMPLE = """
.globl work
.type work, @function
work:   test %edi, %edi
        je 1f
        mov $1, %eax
        ret
1:      xor %eax, %eax
        repz ret
.size work, .-work
"""


@pytest.fixture
def assemble(tmp_path):
    opened = []

    def of(text: str, *options: str) -> files.ProgramFile:
        (tmp_path / "code.s").write_text(text)
        made = tmp_path / "code.so"
        words = ["gcc", "-shared", "-nostdlib", *options, "-o", str(made), str(tmp_path / "code.s")]
        subprocess.run(words, check=True)
        opened.append(files.find(str(made)))
        return opened[-1]

    yield of
    for file in opened:
        file.close()


def analyze(file: files.ProgramFile, name: str) -> FunctionCode:
    [spot] = places.find(file, name).spots
    return code.analyze(file, spot)


def exits(file: files.ProgramFile, name: str) -> list[tuple[ExitKind, int]]:
    """The exits, by their distance from the function's start."""
    [spot] = places.find(file, name).spots
    return [(one.kind, one.spot.offset - spot.offset) for one in code.analyze(file, spot).exits]


def test_each_return_instruction_is_an_exit(assemble):
    file = assemble(SIMPLE)
    found = analyze(file, "work")
    assert exits(file, "work") == [(ExitKind.RETURN, 9), (ExitKind.RETURN, 12)]
    assert found.entry == places.find(file, "work").spots[0].offset
    assert {(one.spot.file, one.spot.identity) for one in found.exits} == {(file.name, file.identity)}


def test_a_place_within_an_instruction_is_refused(assemble):
    file = assemble(SIMPLE)
    start = places.find(file, "work").spots[0].offset
    code.check_boundary(file, start, start + 2)
    with pytest.raises(UsageError, match="within an instruction: test edi, edi"):
        code.check_boundary(file, start, start + 1)
