"""A question at one target becomes C: functions of the texts that ``probes_c/include/ask.h`` says."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pytracer.errors import ProbeSpecError
from pytracer.lang.arithmetic import converted, widened
from pytracer.lang.checker import Checker
from pytracer.lang.formats import Conversion
from pytracer.lang.probe_spec import Expression, ProbeSpec, ResultField, ResultSlot
from pytracer.lang.scope import Comm, Scope, Value
from pytracer.lang.signature import signed
from pytracer.lang.types import U64, IntType, PointerType, is_text
from pytracer.record import record


@record
class GeneratedProgram:
    """The C for one probe spec at a target.

    ``condition`` is a C expression for the filter, "" without one; ``statements`` store the results in the
    record. ``kept`` is C for the values to save at the function's entry, if it ``begins`` there: then a
    program is attached to the entry, too.
    """

    answers: tuple[ResultField, ...]
    condition: str = ""
    statements: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    begins: bool = False


class _FieldWriter:
    """The answers as they are made."""

    def __init__(self) -> None:
        self.made: list[ResultField] = []
        self.statements: list[str] = []
        self.numbers = self.texts = 0

    def number(self, name: str, slot: ResultSlot, value: Value) -> None:
        bit = len(self.made)
        self.made.append(ResultField(name, slot, self.numbers, bit))
        code = f"(u64)({value.code})"
        self.statements.append(f"bad = 0; to->numbers[{self.numbers}] = {code}; to->missing |= bad << {bit};")
        self.numbers += 1

    def text(self, name: str, where: tuple[str, int, str] | Comm) -> None:
        bit = len(self.made)
        self.made.append(ResultField(name, ResultSlot.TEXT, self.texts, bit))
        to = f"to->texts + {self.texts} * PT_ASK_ROOM"
        if isinstance(where, Comm):
            self.statements.append(f"pt_ask_comm({to});")
        else:
            code, limit, memory = where
            self.statements.append(
                f"bad = 0; pt_ask_text({to}, {limit}, {code}, {memory}, &bad); to->missing |= bad << {bit};"
            )
        self.texts += 1


def generate(question: ProbeSpec, scope: Scope) -> GeneratedProgram:
    """Generate the C for a probe spec in this scope. Raises ProbeSpecError, which points into the spec."""
    checker = Checker(question.text, signed(question, scope))
    condition = checker.condition(question.filter) if question.filter is not None else ""
    answers = _FieldWriter()
    conversions: tuple[Conversion | None, ...] = question.conversions or (None,) * len(question.expressions)
    for expression, conversion in zip(question.expressions, conversions, strict=True):
        _answer(answers, checker, expression, conversion)
    return GeneratedProgram(
        tuple(answers.made), condition, tuple(answers.statements), tuple(checker.kept), checker.begins
    )


def _answer(answers: _FieldWriter, checker: Checker, of: Expression, conversion: Conversion | None) -> None:
    if conversion is not None and conversion.sign == "s":
        where = checker.text(of.node)
        if where is None:
            raise checker.fail(
                of.node,
                f"{_spelled(conversion)} is for text, and this is {checker.value(of.node).type.text}",
                hint="%d, %u or %x",
            )
        answers.text(of.text, where)
        return
    if conversion is None and _is_text(checker, of):
        where = checker.text(of.node)
        if where is None:
            raise checker.fail(of.node, "this is no text")
        answers.text(of.text, where)
        return
    if conversion is not None and isinstance(where := _text_or_none(checker, of), Comm):
        raise checker.fail(of.node, f"this is text, and {_spelled(conversion)} is for numbers", hint="%s")
    value = checker.value(of.node)
    if of.type is not None:
        kind = checker.type_of(of.type)
        if not isinstance(kind, (IntType, PointerType)):
            raise checker.fail(of.type, f"nothing can be made a {kind.text}")
        value = converted(value, kind)
    elif conversion is not None:
        value = _as_shown(checker, of, value, conversion)
    answers.number(of.text, _slot(value, conversion), value)


def _text_or_none(checker: Checker, of: Expression) -> tuple[str, int, str] | Comm | None:
    try:
        return checker.text(of.node)
    except ProbeSpecError:
        return None  # whatever it is, it is said of the value


def _is_text(checker: Checker, of: Expression) -> bool:
    """Return whether a value without a conversion is shown as text, by its cast or else by its own type."""
    if of.type is not None:
        return is_text(checker.type_of(of.type))
    where = checker.text(of.node)
    if where is None or isinstance(where, Comm):
        return where is not None
    kind = checker.value(of.node).type
    # Of bytes that are no characters nobody knows that they are text.
    return isinstance(kind, PointerType) and isinstance(kind.to, IntType) and kind.to.char


def _as_shown(checker: Checker, of: Expression, value: Value, conversion: Conversion) -> Value:
    """Convert a value to the type that its conversion shows. Raises ProbeSpecError if it cannot show it."""
    kind = value.type
    if conversion.is_number:
        return widened(value, conversion)
    if conversion.sign == "p":
        return converted(value, U64)
    if conversion.sign in "KU" and isinstance(kind, IntType) and kind.size != 8:
        raise checker.fail(of.node, f"%{conversion.sign} is for addresses, and this is {kind.text}")
    if conversion.sign == "c" and not isinstance(kind, IntType):
        raise checker.fail(of.node, f"%c is for a character, and this is {kind.text}", hint="%s, or %p")
    return value


def _slot(value: Value, conversion: Conversion | None) -> ResultSlot:
    sign = conversion.sign if conversion is not None else ""
    if sign in ("K", "U"):
        return ResultSlot.KERNEL_SYMBOL if sign == "K" else ResultSlot.USER_SYMBOL
    kind = value.type
    if sign == "c":
        return ResultSlot.CHARACTER
    if isinstance(kind, IntType):
        if kind.boolean and not sign:
            return ResultSlot.BOOL
        if kind.char and not sign:
            return ResultSlot.CHARACTER
        return ResultSlot.SIGNED if kind.signed else ResultSlot.UNSIGNED
    return ResultSlot.UNSIGNED


def _spelled(conversion: Conversion) -> str:
    return f"%{conversion.how}{conversion.sign}"


def written(
    programs: Sequence[GeneratedProgram], questions: Sequence[int], tracked: Collection[int] = ()
) -> str:
    """Generate the functions that ``ask.h`` calls, for programs by number; ``questions`` are the numbers of
    their probe specs. Programs in ``tracked`` are also attached to functions' entries."""
    lines = [
        "static __always_inline int pt_wanted(void *ctx, u32 which, u32 target, struct pt_call *call)",
        "{",
        "    u32 bad = 0;",
        "",
    ]
    for number, one in enumerate(programs):
        if one.condition:
            lines += [f"    if (which == {number})", f"        return ({one.condition}) && !bad;"]
    lines += ["    return !bad;", "}", ""]
    lines += [
        "static __always_inline void pt_answer(void *ctx, u32 which, u32 target, struct pt_call *call,",
        "                                      struct pt_answers *to)",
        "{",
        "    u32 bad = 0;",
        "",
        "    to->missing = 0;",
    ]
    for number, one in enumerate(programs):
        if one.statements:
            lines += [f"    if (which == {number}) {{", *(f"        {s}" for s in one.statements), "    }"]
    lines += ["}", ""]
    lines += [
        "static __always_inline void pt_keep(void *ctx, u32 which, u32 target, struct pt_call *to)",
        "{",
        "    u32 bad = 0;",
        "",
    ]
    for number, one in enumerate(programs):
        kept = (
            f"bad = 0; to->kept[{at}] = {code}; to->missing |= bad << {at};"
            for at, code in enumerate(one.kept)
        )
        if one.kept:
            lines += [f"    if (which == {number}) {{", *(f"        {s}" for s in kept), "    }"]
    lines += ["}", ""]
    lines += _tells("pt_begins", [number for number, one in enumerate(programs) if one.begins])
    lines += _tells("pt_has_sign", [number for number, one in enumerate(programs) if _has_sign(one.answers)])
    lines += ["static __always_inline u32 pt_question(u32 which)", "{"]
    lines += [
        f"    if (which == {which})\n        return {number};" for which, number in enumerate(questions)
    ]
    lines += ["    return 0;", "}"]
    for number, one in enumerate(programs):
        lines += ["", f"int ask_{number}(void *ctx)", "{", f"    return pt_asked(ctx, {number});", "}"]
        if one.begins or number in tracked:
            lines += ["", f"int begin_{number}(void *ctx)", "{", f"    return pt_begun(ctx, {number});", "}"]
    return "\n".join(lines) + "\n"


def _has_sign(answers: Sequence[ResultField]) -> bool:
    return bool(answers) and answers[0].slot in (ResultSlot.SIGNED, ResultSlot.CHARACTER)


def _tells(function: str, numbers: Sequence[int]) -> list[str]:
    """Generate a C function that returns whether a program is one of these."""
    which = " || ".join(f"which == {number}" for number in numbers)
    return [f"static __always_inline int {function}(u32 which)", "{", f"    return {which or '0'};", "}", ""]
