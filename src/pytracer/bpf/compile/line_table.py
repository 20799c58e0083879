"""Read the compiler's line table back from BCC, and make BTF of it with the text of the lines.

BCC passes the line table to the kernel only. To get it, a placeholder program with as many instructions is
loaded under the program's name, and the kernel returns the lines that were loaded with it. The verifier does
not change such instructions, so the positions are those of the program. BCC has no text for lines that
``#line`` attributes to another file; the BTF made here takes the text from the C that BCC was given.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from pytracer.bpf.compile.source import project_path, split_by_file
from pytracer.bpf.line_info import FILTER, FUNCTION, LINE_SHIFT, RECORD, FuncLineInfo
from pytracer.bpf.obj_info import SourceLine, read_program
from pytracer.kernel.btf_format import KIND_SHIFT, BtfKind
from pytracer.record import record

_INT, _PROTO = 1, 2  # types: int, int (void)
_STATIC = 0  # BTF_FUNC_STATIC: the kernel accepts no others as callbacks
_SIGNED = 1 << 24
_VIRTUAL = "/virtual/include/"  # the folder of BCC's own headers, as it names them to the compiler
_EXIT, _ZERO = (struct.pack("=BBhi", code, 0, 0, 0) for code in (0x95, 0xB7))


@record
class Line:
    """The C line of the instructions from ``insn`` on, counted from the program's start."""

    insn: int
    file: str
    number: int
    text: str


@record
class LineTableFunction:
    """A function of a program, the index ``at`` of its first instruction, and its lines, of which the first
    begins there; none if they are unknown."""

    name: str
    at: int
    lines: Sequence[Line]


def encode(programs: Mapping[str, Sequence[LineTableFunction]]) -> tuple[bytes, dict[str, FuncLineInfo]]:
    """Make the BTF of programs by their names, and the line info of each.

    If a function has no lines, its whole program gets none.
    """
    strings = _Strings()
    for text in FILTER:
        strings.add(text)
    types = [
        struct.pack("=IIII", strings.add(b"int"), BtfKind.INT << KIND_SHIFT, 4, _SIGNED | 32),
        struct.pack("=III", 0, BtfKind.FUNC_PROTO << KIND_SHIFT, _INT),
    ]
    line_infos = dict[str, FuncLineInfo]()
    for name, functions in programs.items():
        has_lines = all(function.lines for function in functions)
        lines = [line for function in functions if has_lines for line in function.lines]
        first = len(types) + 1
        infos = [FUNCTION.pack(function.at, first + i) for i, function in enumerate(functions)]
        line_infos[name] = FuncLineInfo(b"".join(infos), b"".join(_pack_line_info(lines, strings)))
        for function in functions:
            name_offset = strings.add(function.name.encode())
            types.append(struct.pack("=III", name_offset, BtfKind.FUNC << KIND_SHIFT | _STATIC, _PROTO))
    body = b"".join(types)
    head = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(strings.data))
    return head + body + bytes(strings.data), line_infos


def placeholder_code(count: int) -> bytes:
    """Return ``count`` instructions that do nothing and that the verifier accepts."""
    return _ZERO * (count - 1) + _EXIT


def read_back(descriptor: int, source: str) -> list[Line]:
    """Read the lines of a program of :func:`placeholder_code` instructions that BCC loaded.

    ``source`` is the C as one text, with its ``#line`` directives. Instructions without a line (0: made by
    the compiler) belong to the line before. Raises OSError.
    """
    source_text = split_by_file(source)
    places = {file: project_path(file, lines) for file, lines in source_text.items()}
    source_lines = list[Line]()
    for source_line in read_program(descriptor).lines:
        line = _convert_line(source_line, source_text, places)
        new = not source_lines or (line.file, line.number) != (source_lines[-1].file, source_lines[-1].number)
        if new and (source_line.line or not source_lines):
            source_lines.append(line)
    return source_lines


def _convert_line(
    source_line: SourceLine, source_text: Mapping[str, Mapping[int, str]], places: Mapping[str, str]
) -> Line:
    file = source_line.file.rpartition("/")[2]
    if source_line.file.startswith(_VIRTUAL):
        return Line(
            source_line.insn,
            source_line.file.removeprefix(_VIRTUAL),
            source_line.line,
            source_line.text.strip(),
        )
    return Line(
        source_line.insn,
        places.get(file, file),
        source_line.line,
        source_text.get(file, {}).get(source_line.line, "").strip(),
    )


class _Strings:
    """A BTF string section under construction: each string once."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self._places = {b"": 0}

    def add(self, text: bytes) -> int:
        if text not in self._places:
            self._places[text] = len(self.data)
            self.data += text + b"\0"
        return self._places[text]


def _pack_line_info(lines: Sequence[Line], strings: _Strings) -> Iterator[bytes]:
    for line in lines:
        file, text = (strings.add(part.replace("\0", "").encode()) for part in (line.file, line.text))
        yield RECORD.pack(line.insn, file, text, line.number << LINE_SHIFT)
