"""Make the page of a program that the kernel or the compiler rejects."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from pytracer.bpf.compile.source import project_path, split_by_file
from pytracer.bpf.load.verifier import last_lines, summarise
from pytracer.bpf.load.verifier_messages import explain_message
from pytracer.explain.page import Block, Fold, Page, PageStage, Paragraph, Raw, SourceBlock
from pytracer.record import record

_AROUND = 3  # lines of C that are shown before and behind
_COMPILER = re.compile(r"error: (?:(?P<file>[^\s:]+):(?P<line>\d+):\d+: )?(?P<text>.*)")


@record
class RefusedProgram:
    """The result for one program: ``log`` is the verifier log, or the compiler's messages if that rejected it
    (``compiler``). ``passed``: neither did."""

    program: str
    kind: str
    log: str
    compiler: bool = False
    passed: bool = False


def page_of(source: str, text: str, programs: Sequence[RefusedProgram]) -> Page:
    """Make the page about the programs of the file ``source``; ``text`` is its C as one text."""
    count = sum(not refused_program.passed for refused_program in programs)
    title = (
        f"{source}: {count} of {len(programs)} programs refused" if programs else f"{source} holds no program"
    )
    facts = (("kernel", f"{os.uname().release} ({os.uname().machine})"), ("file", source))
    stages = tuple(stage_of(refused_program, text) for refused_program in programs)
    return Page(title, f"pytracer explain --refused {source}", facts, stages)


def stage_of(refused_program: RefusedProgram, text: str) -> PageStage:
    """Make the stage of one program: the line of C, the verifier's message, its meaning, and what to do."""
    title = (
        f"{refused_program.program}, a program of the kind {refused_program.kind}"
        if refused_program.kind
        else refused_program.program
    )
    if refused_program.passed:
        return PageStage("refusal", title, "This kernel takes it.", ())
    reason, location = (
        _parse_compiler_log(refused_program.log, refused_program.program, text)
        if refused_program.compiler
        else _parse_verifier_log(refused_program.log, refused_program.program, text)
    )
    component = "The compiler" if refused_program.compiler else "The verifier"
    blocks = list[Block]()
    if location is not None:
        file, number = location
        blocks.append(_make_excerpt(file, number, text))
    verdict = explain_message(reason)
    if verdict is None:
        blocks.append(Paragraph("What these words mean has not been put down here yet."))
    else:
        blocks += [Paragraph(verdict.meaning, "What it means"), Paragraph(verdict.remedy, "What to do")]
    if refused_program.compiler:
        blocks.append(Fold("what the compiler said", (Raw(refused_program.log.strip()),)))
    else:
        steps = "\n".join(last_lines(refused_program.log))
        blocks.append(
            Fold("the last steps on the way there, as the verifier tells them", (Raw(steps),), True)
        )
        lines = len(refused_program.log.splitlines())
        blocks.append(Fold(f"the whole log ({lines} lines)", (Raw(refused_program.log.strip()),)))
    return PageStage("refusal", title, f"{component} refused it: {reason}", tuple(blocks))


def _parse_verifier_log(log: str, program: str, text: str) -> tuple[str, tuple[str, int] | None]:
    refusal = summarise(log)
    position = re.match(r"(?P<file>[^\s:]+):(?P<line>\d+)(?:: |$)", refusal.source)
    lines_by_file = split_by_file(text)
    if position and int(position["line"]) in lines_by_file.get(position["file"], {}):
        return refusal.reason, (position["file"], int(position["line"]))
    # Older kernels log the text of the line without its place.
    matching = list(
        _find_lines(lines_by_file, lambda line: bool(line.strip()) and line.strip() == refusal.source)
    )
    begin = next(_find_lines(lines_by_file, _match_definition(program)), None)
    if begin is not None and len(matching) > 1:  # one that is within the function
        lines = lines_by_file[begin[0]]
        end = next((n for n, line in lines.items() if n > begin[1] and line == "}"), begin[1])
        matching = [
            location for location in matching if location[0] == begin[0] and begin[1] < location[1] < end
        ]
    return refusal.reason, matching[0] if len(matching) == 1 else None


def _parse_compiler_log(log: str, program: str, text: str) -> tuple[str, tuple[str, int] | None]:
    for line in log.splitlines():
        if match := _COMPILER.match(line.strip()):
            if match["file"] and int(match["line"]):
                return match["text"], (match["file"], int(match["line"]))
            # LLVM does not name the line: use the one at which the function begins.
            return match["text"], next(_find_lines(split_by_file(text), _match_definition(program)), None)
    return log.strip().splitlines()[-1] if log.strip() else "it ended without a word", None


def _match_definition(program: str) -> Callable[[str], object]:
    """Return a predicate for the line at which the function of that name begins."""
    return re.compile(rf"\w[\w\s*]*\b{re.escape(program)}\s*\(").match


def _find_lines(
    lines_by_file: Mapping[str, Mapping[int, str]], accepts: Callable[[str], object]
) -> Iterator[tuple[str, int]]:
    """Yield (file, number) of the ``accepts`` lines."""
    for file, lines in lines_by_file.items():
        for number, line in lines.items():
            if accepts(line):
                yield file, number


def _make_excerpt(file: str, number: int, text: str) -> SourceBlock:
    lines = split_by_file(text).get(file, {})
    first, last = max(1, number - _AROUND), min(max(lines, default=number), number + _AROUND)
    excerpt = tuple(lines.get(line, "") for line in range(first, last + 1))
    return SourceBlock(project_path(file, lines), first, excerpt, marked=frozenset({number}))


def functions(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, type that its argument points to) of functions that may be programs."""
    for name, argument in re.findall(
        r"^\s*(?:int|u64|__u64|long)\s+(\w+)\s*\(\s*(.*?)\s*\*\s*\w+", text, re.M
    ):
        yield name, argument.removeprefix("const ").strip()
