"""Test source lines for the kernel: BTF with their text, and records that point into it."""

from __future__ import annotations

import pytest

from pytracer.bpf.compile import line_table
from pytracer.bpf.compile.line_table import Line, LineTableFunction, encode, placeholder_code, read_back
from pytracer.bpf.compile.source import read_source, split_by_file
from pytracer.bpf.line_info import FUNCTION, RECORD, FuncLineInfo
from pytracer.bpf.obj_info import ProgramInfo, SourceLine
from pytracer.kernel.btf import Btf, BtfKind

LINES = [
    Line(0, "probes_c/a.c", 3, "{"),
    Line(2, "probes_c/include/rows.h", 9, 'say("é");'),
    Line(5, "probes_c/a.c", 4, "{"),
]


def read(btf: Btf, reported: FuncLineInfo) -> list[tuple[int, str, int, str]]:
    records = RECORD.iter_unpack(reported.lines)
    return [
        (insn, btf.string(file), position >> 10, btf.string(text)) for insn, file, text, position in records
    ]


def functions(btf: Btf, reported: FuncLineInfo) -> list[tuple[int, str]]:
    infos = list(FUNCTION.iter_unpack(reported.functions))
    assert [btf.kind(kind) for _, kind in infos] == [BtfKind.FUNC] * len(infos)
    return [(offset, btf.name(kind)) for offset, kind in infos]


def test_encoded_tables_can_be_decoded():
    tables = {"first": LINES, "second": LINES[:1], "bare": []}
    data, reported = encode({name: [LineTableFunction(name, 0, lines)] for name, lines in tables.items()})
    btf = Btf(data)
    assert {name: functions(btf, reported[name]) for name in reported} == {
        name: [(0, name)] for name in tables
    }
    [(_, kind)] = FUNCTION.iter_unpack(reported["first"].functions)
    proto = btf.func_proto(btf.target(kind))
    assert (btf.name(proto.returns), btf.size_of(proto.returns), list(proto.params)) == ("int", 4, [])
    assert read(btf, reported["first"]) == [(line.insn, line.file, line.number, line.text) for line in LINES]
    assert read(btf, reported["second"]) == [(0, "probes_c/a.c", 3, "{")]
    assert reported["bare"].lines == b""


def test_a_program_of_several_functions():
    """The kernel requires a line for the first instruction of each function, or none at all."""
    body = Line(7, "probes_c/include/b.h", 3, "{")
    both_functions = [LineTableFunction("main", 0, LINES), LineTableFunction("body", 7, [body])]
    data, reported = encode(
        {"main": both_functions, "other": [LineTableFunction("other", 0, []), both_functions[1]]}
    )
    btf = Btf(data)
    assert functions(btf, reported["main"]) == [(0, "main"), (7, "body")]
    assert functions(btf, reported["other"]) == [(0, "other"), (7, "body")]
    assert [insn for insn, *_ in read(btf, reported["main"])] == [0, 2, 5, 7]
    assert reported["other"].lines == b""


def test_a_text_is_kept_once():
    once, _ = encode({"f": [LineTableFunction("f", 0, LINES)]})
    twice, _ = encode({"f": [LineTableFunction("f", 0, [*LINES, Line(7, "probes_c/a.c", 5, "{")])]})
    assert len(once) == len(twice)


def test_code_before_a_program_has_a_line_of_its_own():
    data, reported = encode(
        {
            "f": [
                LineTableFunction("f", 0, LINES),
                LineTableFunction("g", 7, [Line(7, "probes_c/a.c", 9, "{")]),
            ]
        }
    )
    assert reported["f"].shift(0) == reported["f"]
    btf, moved = Btf(data), reported["f"].shift(4)
    lines = read(btf, moved)
    assert lines[0] == (0, "--filter", 1, "the packet filter, from classic BPF")
    assert [insn for insn, *_ in lines[1:]] == [4, 6, 9, 11]
    assert functions(btf, moved) == [(0, "f"), (11, "g")]
    assert FuncLineInfo(b"", b"").shift(4) == FuncLineInfo(b"", b"")


def test_a_function_that_calls_a_program_has_its_name_and_first_line():
    tables = [LineTableFunction("f", 0, LINES), LineTableFunction("g", 7, [Line(7, "probes_c/a.c", 9, "{")])]
    data, reported = encode({"f": tables})
    btf, moved = Btf(data), reported["f"].called_from(8)
    lines = read(btf, moved)
    assert lines[:2] == [(0, *lines[1][1:]), (8, "probes_c/a.c", 3, "{")]
    assert [insn for insn, *_ in lines] == [0, 8, 10, 13, 15]
    assert functions(btf, moved) == [(0, "f"), (8, "f"), (15, "g")]
    assert FuncLineInfo(b"", b"").called_from(8) == FuncLineInfo(b"", b"")


@pytest.mark.parametrize(
    ("places", "fits"),
    [
        ([], True),
        ([0], True),
        ([0, 3], True),
        ([1, 3], False),
        ([0, 0], False),
        ([0, 2, 1], False),
        ([0, 4], False),
    ],
)
def test_lines_and_functions_of_no_program_are_reported(places, fits):
    lines = b"".join(RECORD.pack(offset, 1, 1, 1 << 10) for offset in places)
    functions = b"".join(FUNCTION.pack(offset, 3) for offset in places)
    assert FuncLineInfo(b"", lines).matches(bytes(32)) is fits
    assert FuncLineInfo(functions, b"").matches(bytes(32)) is fits
    assert not FuncLineInfo(b"", lines + b"x").matches(bytes(32))
    assert not FuncLineInfo(functions + b"x", b"").matches(bytes(32))


def test_lines_that_bcc_knows(monkeypatch):
    """BCC reports the positions; the text comes from the C that it compiled."""
    text = read_source("sockcount.c")
    offset = {
        words.strip(): (file, number)
        for file, lines in split_by_file(text).items()
        for number, words in lines.items()
    }
    lookup, brace = (
        offset["u64 *value = pt_config.lookup(&slot);"],
        offset["int count(struct __sk_buff *skb)"],
    )
    reported = [
        SourceLine(0, "/cache/headers/12/sockcount.c", brace[1], 0, ""),
        SourceLine(1, "/cache/headers/12/sockcount.c", 0, 0, ""),
        SourceLine(2, "/cache/headers/12/config.h", lookup[1], 7, ""),
        SourceLine(3, "/cache/headers/12/config.h", lookup[1], 9, ""),
        SourceLine(4, "/virtual/include/bcc/helpers.h", 1225, 10, "  return map;"),
        SourceLine(5, "/cache/headers/12/sockcount.c", 99999, 0, ""),
    ]
    fields = dict.fromkeys(ProgramInfo.__match_args__) | {"lines": tuple(reported)}
    monkeypatch.setattr(line_table, "read_program", lambda _: ProgramInfo(**fields))
    assert read_back(3, text) == [
        Line(0, "probes_c/sockcount.c", brace[1], "int count(struct __sk_buff *skb)"),
        Line(2, "probes_c/include/config.h", lookup[1], "u64 *value = pt_config.lookup(&slot);"),
        Line(4, "bcc/helpers.h", 1225, "return map;"),
        Line(5, "probes_c/sockcount.c", 99999, ""),
    ]


def test_meaningless_instructions():
    assert len(placeholder_code(1)) == 8
    assert placeholder_code(3)[-8] == 0x95
    assert set(placeholder_code(3)[:16:8]) == {0xB7}
