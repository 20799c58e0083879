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


def page_of(source: str, text: str, refused: Sequence[RefusedProgram]) -> Page:
    """Make the page about the programs of the file ``source``; ``text`` is its C as one text."""
    count = sum(not one.passed for one in refused)
    title = (
        f"{source}: {count} of {len(refused)} programs refused" if refused else f"{source} holds no program"
    )
    facts = (("kernel", f"{os.uname().release} ({os.uname().machine})"), ("file", source))
    stages = tuple(stage_of(one, text) for one in refused)
    return Page(title, f"pytracer explain --refused {source}", facts, stages)


def stage_of(one: RefusedProgram, text: str) -> PageStage:
    """Make the stage of one program: the line of C, the verifier's message, its meaning, and what to do."""
    title = f"{one.program}, a program of the kind {one.kind}" if one.kind else one.program
    if one.passed:
        return PageStage("refusal", title, "This kernel takes it.", ())
    reason, place = (
        _compilers(one.log, one.program, text) if one.compiler else _verifiers(one.log, one.program, text)
    )
    who = "The compiler" if one.compiler else "The verifier"
    blocks = list[Block]()
    if place is not None:
        file, number = place
        blocks.append(_around(file, number, text))
    verdict = explain_message(reason)
    if verdict is None:
        blocks.append(Paragraph("What these words mean has not been put down here yet."))
    else:
        blocks += [Paragraph(verdict.meaning, "What it means"), Paragraph(verdict.remedy, "What to do")]
    if one.compiler:
        blocks.append(Fold("what the compiler said", (Raw(one.log.strip()),)))
    else:
        steps = "\n".join(last_lines(one.log))
        blocks.append(
            Fold("the last steps on the way there, as the verifier tells them", (Raw(steps),), True)
        )
        lines = len(one.log.splitlines())
        blocks.append(Fold(f"the whole log ({lines} lines)", (Raw(one.log.strip()),)))
    return PageStage("refusal", title, f"{who} refused it: {reason}", tuple(blocks))


def _verifiers(log: str, program: str, text: str) -> tuple[str, tuple[str, int] | None]:
    refusal = summarise(log)
    at = re.match(r"(?P<file>[^\s:]+):(?P<line>\d+)(?:: |$)", refusal.source)
    known = split_by_file(text)
    if at and int(at["line"]) in known.get(at["file"], {}):
        return refusal.reason, (at["file"], int(at["line"]))
    # Older kernels log the text of the line without its place.
    matching = list(_places(known, lambda line: bool(line.strip()) and line.strip() == refusal.source))
    begin = next(_places(known, _definition(program)), None)
    if begin is not None and len(matching) > 1:  # one that is within the function
        lines = known[begin[0]]
        end = next((n for n, line in lines.items() if n > begin[1] and line == "}"), begin[1])
        matching = [place for place in matching if place[0] == begin[0] and begin[1] < place[1] < end]
    return refusal.reason, matching[0] if len(matching) == 1 else None


def _compilers(log: str, program: str, text: str) -> tuple[str, tuple[str, int] | None]:
    for line in log.splitlines():
        if match := _COMPILER.match(line.strip()):
            if match["file"] and int(match["line"]):
                return match["text"], (match["file"], int(match["line"]))
            # LLVM does not name the line: use the one at which the function begins.
            return match["text"], next(_places(split_by_file(text), _definition(program)), None)
    return log.strip().splitlines()[-1] if log.strip() else "it ended without a word", None


def _definition(program: str) -> Callable[[str], object]:
    """Return a predicate for the line at which the function of that name begins."""
    return re.compile(rf"\w[\w\s*]*\b{re.escape(program)}\s*\(").match


def _places(
    known: Mapping[str, Mapping[int, str]], wanted: Callable[[str], object]
) -> Iterator[tuple[str, int]]:
    """Yield (file, number) of the ``wanted`` lines."""
    for file, lines in known.items():
        for number, line in lines.items():
            if wanted(line):
                yield file, number


def _around(file: str, number: int, text: str) -> SourceBlock:
    lines = split_by_file(text).get(file, {})
    first, last = max(1, number - _AROUND), min(max(lines, default=number), number + _AROUND)
    shown = tuple(lines.get(line, "") for line in range(first, last + 1))
    return SourceBlock(project_path(file, lines), first, shown, marked=frozenset({number}))


def functions(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, type that its argument points to) of functions that may be programs."""
    for name, argument in re.findall(
        r"^\s*(?:int|u64|__u64|long)\s+(\w+)\s*\(\s*(.*?)\s*\*\s*\w+", text, re.M
    ):
        yield name, argument.removeprefix("const ").strip()
