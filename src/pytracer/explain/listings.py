"""Pair instructions with their C: translated bytecode and native code."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from pytracer.bpf.compile.source import probes_folder, project_path, split_by_file
from pytracer.bpf.obj_info import ProgramInfo, SourceLine
from pytracer.explain.page import CodeLine, Pair, SideBySide, SourceBlock
from pytracer.prog.disassembly import ReferenceFormatter, listing
from pytracer.prog.native_code import disassemble_program


def bytecode(info: ProgramInfo, name: str, names: ReferenceFormatter) -> SideBySide:
    """Group the translated instructions by their lines of C."""
    code = [
        (one.number, CodeLine(str(one.number), one.text, "" if one.target is None else str(one.target)))
        for one in listing(info.xlated, names)
    ]
    return SideBySide(name, _pairs(code, info.lines, [line.insn for line in info.lines]))


def native(info: ProgramInfo, name: str, name_of: Callable[[int], str]) -> tuple[SideBySide, str]:
    """Group the native code by its lines of C. Returns a hint if it cannot be disassembled. Addresses are
    shown relative to the begin of the program."""
    begin = info.functions[0].address if info.functions else 0
    native_code, hint = disassemble_program(info, name_of=name_of)
    inside = {one.address for one in native_code}
    code = []
    for one in native_code:
        at = f"{one.address - begin:x}"
        text = one.text or one.raw.hex(" ")
        target = ""
        if one.target is not None and one.target in inside:
            target = f"{one.target - begin:x}"
            text = text.replace(f"{one.target:#x}", f"+{target}")
        code.append((one.address, CodeLine(at, text, target)))
    placed = sorted((line for line in info.lines if line.address and begin), key=lambda line: line.address)
    return SideBySide(name, _pairs(code, placed, [line.address for line in placed])), hint


def _pairs(
    code: Iterable[tuple[int, CodeLine]], lines: Sequence[SourceLine], starts: Sequence[int]
) -> tuple[Pair, ...]:
    """Group instructions, in order, by their line of C."""
    pairs = list[tuple[SourceLine | None, list[CodeLine]]]()
    for at, one in code:
        place = bisect.bisect_right(starts, at) - 1
        line = lines[place] if place >= 0 else None
        if pairs and pairs[-1][0] is line:
            pairs[-1][1].append(one)
        else:
            pairs.append((line, [one]))
    return tuple(
        Pair(line.file, line.line, line.text, tuple(group)) if line else Pair("", 0, "", tuple(group))
        for line, group in pairs
    )


def sources(text: str, listings: Sequence[SideBySide]) -> list[SourceBlock]:
    """Split the C as one text into its files, the tracer's own first, with the number of instructions that
    these listings have for each line."""
    count = Counter[tuple[str, int]]()
    for each in listings:
        for pair in each.pairs:
            count[pair.file, pair.line] += len(pair.code)
    blocks = []
    for file, lines in split_by_file(text).items():
        path = project_path(file, lines)
        whole = probes_folder().parent / path  # with the includes, in whose places their text stands
        if path != file:
            lines = dict(enumerate(whole.read_text().splitlines(), 1))
        last = max(lines, default=0)
        used = tuple((n, count[path, n]) for n in range(1, last + 1) if count[path, n])
        blocks.append(SourceBlock(path, 1, tuple(lines.get(n, "") for n in range(1, last + 1)), used))
    return blocks
