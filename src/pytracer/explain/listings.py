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
        (
            instruction.number,
            CodeLine(
                str(instruction.number),
                instruction.text,
                "" if instruction.target is None else str(instruction.target),
            ),
        )
        for instruction in listing(info.xlated, names)
    ]
    return SideBySide(name, _group_by_line(code, info.lines, [line.insn for line in info.lines]))


def native(info: ProgramInfo, name: str, name_of: Callable[[int], str]) -> tuple[SideBySide, str]:
    """Group the native code by its lines of C. Returns a hint if it cannot be disassembled. Addresses are
    shown relative to the begin of the program."""
    begin = info.functions[0].address if info.functions else 0
    native_code, hint = disassemble_program(info, name_of=name_of)
    inside = {instruction.address for instruction in native_code}
    code = []
    for instruction in native_code:
        address_text = f"{instruction.address - begin:x}"
        text = instruction.text or instruction.raw.hex(" ")
        target = ""
        if instruction.target is not None and instruction.target in inside:
            target = f"{instruction.target - begin:x}"
            text = text.replace(f"{instruction.target:#x}", f"+{target}")
        code.append((instruction.address, CodeLine(address_text, text, target)))
    located_lines = sorted(
        (line for line in info.lines if line.address and begin), key=lambda line: line.address
    )
    return SideBySide(
        name, _group_by_line(code, located_lines, [line.address for line in located_lines])
    ), hint


def _group_by_line(
    code: Iterable[tuple[int, CodeLine]], lines: Sequence[SourceLine], starts: Sequence[int]
) -> tuple[Pair, ...]:
    """Group instructions, in order, by their line of C."""
    pairs = list[tuple[SourceLine | None, list[CodeLine]]]()
    for address, code_line in code:
        index = bisect.bisect_right(starts, address) - 1
        line = lines[index] if index >= 0 else None
        if pairs and pairs[-1][0] is line:
            pairs[-1][1].append(code_line)
        else:
            pairs.append((line, [code_line]))
    return tuple(
        Pair(line.file, line.line, line.text, tuple(group)) if line else Pair("", 0, "", tuple(group))
        for line, group in pairs
    )


def sources(text: str, listings: Sequence[SideBySide]) -> list[SourceBlock]:
    """Split the C as one text into its files, the tracer's own first, with the number of instructions that
    these listings have for each line."""
    count = Counter[tuple[str, int]]()
    for code_listing in listings:
        for pair in code_listing.pairs:
            count[pair.file, pair.line] += len(pair.code)
    blocks = []
    for file, lines in split_by_file(text).items():
        path = project_path(file, lines)
        full_path = probes_folder().parent / path  # with the includes, in whose places their text stands
        if path != file:
            lines = dict(enumerate(full_path.read_text().splitlines(), 1))
        last = max(lines, default=0)
        used_lines = tuple((n, count[path, n]) for n in range(1, last + 1) if count[path, n])
        blocks.append(SourceBlock(path, 1, tuple(lines.get(n, "") for n in range(1, last + 1)), used_lines))
    return blocks
