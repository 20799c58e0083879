"""What users ask: found on this machine, checked against what there is, and made into programs.

Targets of a question that come to the same C share a program; what is asked of others has one of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytracer.ask import Answer, Asked, Program, Question, Slot, compile_question
from pytracer.ask.compile import written
from pytracer.errors import QuestionError, UsageError
from pytracer.kernel.facts import Facts, Target
from pytracer.plan.choose import Chosen, Decided
from pytracer.plan.request import Request, number_of
from pytracer.plan.scopes import scope_of
from pytracer.plan.targets import AskPlan, Named, attach, check_number, defines_of, targets_of
from pytracer.record import replace
from pytracer.spec import SPELLINGS, Column, Source

GENERATED = "asked.h"
STRING_SIZE = "string-size"  # the option of the tracer
_RESERVED = {"kind", "time", "lost", "reason", "meaning"}  # what else records have, in JSON
_MARK = 12 * 16  # bytes of struct pt_usdt_mark, probes_c/include/usdt.h
_BEGINNINGS = {spelling.end: kind for kind, spelling in SPELLINGS.items() if spelling.end}


def choose_questions(request: Request, facts: Facts) -> AskPlan:
    """Find what is asked about, and choose how to attach to it.

    Raises QuestionError, which points into the question, where it does not fit what there is, and what
    :func:`~pytracer.plan.targets.choose_targets` raises.
    """
    named, warnings = list[Named](), list[str]()
    programs = list[Program]()
    answers, of = list[tuple[Answer, ...]](), list[int]()
    groups = dict[
        tuple[int, str, bool], list[Named]
    ]()  # by program, kind of source, whether within a function
    for number, question in enumerate(request.questions):
        first: Program | None = None
        begins = len(programs)
        for source, target in _targets(question, request, facts, warnings):
            one = Named(len(named), source, target, request.process)
            named.append(one)
            of.append(number)
            program = compile_question(question, scope_of(source, target, facts))
            first = first or program
            _check_alike(question, first, program, one)
            if program not in programs[begins:]:
                programs.append(program)
            which = programs.index(program, begins)
            groups.setdefault((which, source.kind, bool(source.offset)), []).append(one)
        assert first is not None
        answers.append(first.answers)
    check_number([question.source for question in request.questions], len(named), request)
    probes, notes, decided = list[Chosen](), list[str](), list[Decided]()
    for (which, kind, _), group in groups.items():
        for function, part in _parts(programs[which], which, kind):
            chosen, note, taken = attach(function, part, group, request, facts)
            probes += chosen
            notes.append(note)
            decided.append(taken)
    defines = dict(defines_of(len(named), probes))
    marks = {
        one.number: b"".join(argument.packed for argument in one.target.spots[0].arguments).ljust(
            _MARK, b"\0"
        )
        for one in named
        if one.source.kind == "usdt"
    }
    asked = _asked(request, answers, of)
    defines |= {
        "PT_ASK_NUMBERS": str(asked.numbers),
        "PT_ASK_TEXTS": str(asked.texts),
        "PT_ASK_ROOM": str(asked.room),
    }
    if marks:
        defines["PT_USDT_MARKS"] = defines["PT_TARGETS"]
    if any(program.begins for program in programs):
        defines["PT_ASK_CALLS"] = ""
        defines["PT_ASK_KEPT"] = str(max(1, *(len(program.kept) for program in programs)))
    return AskPlan(
        names=tuple(one.name for one in named),
        probes=tuple(probes),
        notes=tuple(dict.fromkeys(notes)),
        warnings=tuple(warnings),
        defines=tuple(defines.items()),
        decided=tuple(decided),
        asked=asked,
        generated={GENERATED: written(programs)},
        marks=marks,
    )


def _targets(
    question: Question, request: Request, facts: Facts, warnings: list[str]
) -> Iterator[tuple[Source, Target]]:
    """What a question is about; of a USDT probe each place by itself, since its arguments are elsewhere."""
    try:
        source, targets = targets_of(question.source, request, facts, warnings)
    except UsageError as error:
        start = len(question.text) - len(question.text.lstrip())
        end = start + len(question.text[start:].split("(")[0].split()[0])
        raise QuestionError(error.message, question.text, start, end, hint=error.hint) from None
    for target in targets:
        if source.kind != "usdt":
            yield source, target
            continue
        for spot in target.spots:
            yield source, replace(target, spots=(spot,))


def _parts(program: Program, which: int, kind: str) -> Iterator[tuple[str, str]]:
    """The functions of the C that are wanted, and the kinds of source that they are for."""
    if program.begins:
        yield f"begin_{which}", _BEGINNINGS[kind]
    yield f"ask_{which}", kind


def _check_alike(question: Question, first: Program, program: Program, one: Named) -> None:
    """A column is of one type, whatever it is asked of. Raises QuestionError."""
    for expression, before, now in zip(question.expressions, first.answers, program.answers, strict=True):
        if before.slot is not now.slot:
            raise QuestionError(
                f"this is {now.slot.value} of {one.name}, and {before.slot.value} of what matched before",
                question.text,
                expression.node.start,
                expression.node.end,
                hint="a cast makes them alike",
            )


def _asked(request: Request, answers: list[tuple[Answer, ...]], of: list[int]) -> Asked:
    every = [answer for some in answers for answer in some]
    numbers = [answer.at + 1 for answer in every if answer.slot is not Slot.TEXT]
    texts = [answer.at + 1 for answer in every if answer.slot is Slot.TEXT]
    room = number_of(STRING_SIZE, request)
    return Asked(
        request.questions, tuple(answers), tuple(of), max(numbers, default=1), max(texts, default=1), room
    )


def answer_columns(asked: Asked, taken: Iterable[str]) -> tuple[Column, ...]:
    """A column for each expression, by its text; one whose name is ``taken`` has ``arg:`` before it."""
    names = set(taken) | _RESERVED
    slots = dict[str, Slot]()
    for answer in (answer for some in asked.answers for answer in some):
        slots.setdefault(answer.name, answer.slot)
    return tuple(
        Column(
            f"arg:{name}" if name in names else name,
            f"what {name} was",
            field=name,
            decode="" if slot in (Slot.SIGNED, Slot.UNSIGNED, Slot.BOOL) else "text",
            wide=True,
            computed=True,
        )
        for name, slot in slots.items()
    )
