"""Read unwind rows from what readelf says about a file: the witness of our own."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from pytracer.symbols.unwind.table import ROW, Rule

ANY_EXPRESSION = 99
"""Stands for each rule that a CFA's expression may have: readelf writes ``exp``."""
_ENTRY = re.compile(r"\S+ \S+ \S+ FDE cie=\S+ pc=([0-9a-f]+)\.\.([0-9a-f]+)")
_COMMON = re.compile(r"([0-9a-f]+) \S+ \S+ CIE ")
_CIE = re.compile(r" FDE cie=([0-9a-f]+) ")
_CFA = re.compile(r"([a-z]\w*)\+(\d+)")
PT_REGS = {  # by the members of struct pt_regs
    name: index
    for index, name in enumerate(
        (
            "r15",
            "r14",
            "r13",
            "r12",
            "rbp",
            "rbx",
            "r11",
            "r10",
            "r9",
            "r8",
            "rax",
            "rcx",
            "rdx",
            "rsi",
            "rdi",
        )
    )
}
Row = tuple[int, int, int, int]


def read(path: Path, base: int) -> Any:
    """Return all rows of a file as an array of ROW."""
    # It exits with 1 where a separate debug file is missing. A register's name may follow in brackets.
    output = subprocess.run(
        ["readelf", "--debug-dump=frames-interp", path], stdout=subprocess.PIPE, text=True, check=False
    ).stdout
    output = re.sub(r" \(\w+\)", "", output)
    entries = dict[int, tuple[int, list[Row]]]()
    initial = dict[str, tuple[int, int, int]]()
    columns, rows, common = list[str](), list[Row](), ""
    for line in output.splitlines():
        if match := _ENTRY.match(line):
            begin, end = int(match[1], 16), int(match[2], 16)
            cie = _CIE.search(line)
            assert cie is not None
            common, columns = "", []
            rows = [(begin, *initial.get(cie[1], (0, 0, Rule.EXPRESSION)))]
            if begin not in entries or entries[begin][0] < end:
                entries[begin] = end, rows
        elif match := _COMMON.match(line):
            common = match[1]
        elif line.startswith("   LOC "):
            columns = line.split()
        elif columns and line.strip():
            values = dict(zip(columns, line.split(), strict=True))
            if common:
                initial[common] = _row(values)
            else:
                rows.append((int(values["LOC"], 16), *_row(values)))
        else:
            columns = []
    return _table(entries, base)


def _row(values: dict[str, str]) -> tuple[int, int, int]:
    """Return (cfa_offset, rbp, rule) for a line's columns."""
    cfa, rbp, address = values["CFA"], values.get("rbp", "u"), values.get("ra", "")
    if address == "u":
        return 0, 0, Rule.END
    saved = {"u": 0, "s": 0, "exp": 255}.get(rbp)
    if saved is None and (match := re.fullmatch(r"c-(\d+)", rbp)) and int(match[1]) % 8 == 0:
        saved = int(match[1]) // 8 if int(match[1]) <= 254 * 8 else None
    if cfa == "exp":
        return 0, 0, ANY_EXPRESSION
    if saved is None or address != "c-8" or values.get("rsp", "u") != "u":
        return 0, 0, Rule.EXPRESSION
    match = _CFA.fullmatch(cfa)
    assert match is not None, cfa
    limit = 1 << 16 if match[1] in ("rsp", "rbp") else 1 << 12
    if int(match[2]) % 8 or int(match[2]) >= 8 * limit:
        return 0, 0, Rule.EXPRESSION
    if limit == 1 << 12:
        return int(match[2]) // 8 << 4 | PT_REGS[match[1]], saved, Rule.REGISTER
    return int(match[2]) // 8, saved, Rule.RSP if match[1] == "rsp" else Rule.RBP


def _table(entries: dict[int, tuple[int, list[Row]]], base: int) -> Any:
    none = 0, 0, int(Rule.NONE)
    rows: list[Row] = [(base, *none)]
    starts = sorted(entries)
    for begin, following in zip(starts, [*starts[1:], 1 << 62], strict=True):
        end, own = entries[begin]
        rows += [row for row in own if row[0] < min(end, following)]
        if end < following:
            rows.append((end, *none))
    merged = list[Row]()
    for row in rows:
        while merged and merged[-1][0] >= row[0]:
            assert merged[-1][0] == row[0]
            merged.pop()
        if not merged or merged[-1][1:] != row[1:] or row[3] == ANY_EXPRESSION:
            merged.append(row)
    return np.array([(start - base, *rest) for start, *rest in merged], ROW)
