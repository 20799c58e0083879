"""Generate the C functions of probe specs that ``probes_c/include/probe_specs.h`` calls."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pytracer.errors import ProbeSpecError
from pytracer.lang.arithmetic import convert, widen
from pytracer.lang.checker import Checker
from pytracer.lang.formats import Conversion
from pytracer.lang.probe_spec import Expression, ProbeSpec, ResultField, ResultSlot
from pytracer.lang.scope import Comm, Scope, Value
from pytracer.lang.signature import apply_signature
from pytracer.lang.types import U64, IntType, PointerType, is_text
from pytracer.record import record

_PARAMETERS = "void *ctx, u32 program, u32 target"


@record
class GeneratedProgram:
    """The C for one probe spec at a target.

    ``condition`` is a C expression for the filter, "" without one; ``statements`` store the results in the
    record. ``entry_values`` is C for the values to save at the function's entry. If ``traces_entry``,
    a program is attached to the entry, too. ``key`` is C for the key of a pair, "" if the thread is the key.
    """

    results: tuple[ResultField, ...]
    condition: str = ""
    statements: tuple[str, ...] = ()
    entry_values: tuple[str, ...] = ()
    traces_entry: bool = False
    key: str = ""


class _FieldWriter:
    """Collects the result fields and the C that stores them."""

    def __init__(self) -> None:
        self.fields: list[ResultField] = []
        self.statements: list[str] = []
        self.numbers = self.texts = 0

    def number(self, name: str, slot: ResultSlot, value: Value) -> None:
        bit = len(self.fields)
        self.fields.append(ResultField(name, slot, self.numbers, bit))
        code = f"(u64)({value.code})"
        self.statements.append(f"bad = 0; to->numbers[{self.numbers}] = {code}; to->unread |= bad << {bit};")
        self.numbers += 1

    def text(self, name: str, where: tuple[str, int, str] | Comm) -> None:
        bit = len(self.fields)
        self.fields.append(ResultField(name, ResultSlot.TEXT, self.texts, bit))
        to = f"to->texts + {self.texts} * PT_SPEC_TEXT_SIZE"
        if isinstance(where, Comm):
            self.statements.append(f"pt_spec_comm({to});")
        else:
            code, limit, memory = where
            self.statements.append(
                f"bad = 0; pt_spec_save_text({to}, {limit}, {code}, {memory}, &bad); "
                f"to->unread |= bad << {bit};"
            )
        self.texts += 1


def generate(spec: ProbeSpec, scope: Scope) -> GeneratedProgram:
    """Generate the C for a probe spec in this scope. Raises ProbeSpecError, which points into the spec."""
    checker = Checker(spec.text, apply_signature(spec, scope))
    condition = checker.condition(spec.filter) if spec.filter is not None else ""
    results = _FieldWriter()
    conversions: tuple[Conversion | None, ...] = spec.conversions or (None,) * len(spec.expressions)
    for expression, conversion in zip(spec.expressions, conversions, strict=True):
        _add_result(results, checker, expression, conversion)
    for expression in spec.by:
        checker.whole = expression.whole
        _add_result(results, checker, expression, None)
    key = ""
    if spec.key is not None:
        checker.whole = spec.key.whole
        key = f"(u64)({checker.value(spec.key.node).code})"
    return GeneratedProgram(
        tuple(results.fields),
        condition,
        tuple(results.statements),
        tuple(checker.entry_values),
        checker.traces_entry,
        key,
    )


def _add_result(
    results: _FieldWriter, checker: Checker, expression: Expression, conversion: Conversion | None
) -> None:
    if conversion is not None and conversion.sign == "s":
        where = checker.text(expression.node)
        if where is None:
            raise checker.fail(
                expression.node,
                f"{_spell(conversion)} is for text, and this is {checker.value(expression.node).type.text}",
                hint="%d, %u or %x",
            )
        results.text(expression.text, where)
        return
    if conversion is None and _is_text(checker, expression):
        where = checker.text(expression.node)
        if where is None:
            raise checker.fail(expression.node, "this is not a string")
        results.text(expression.text, where)
        return
    if conversion is not None and isinstance(where := _text_or_none(checker, expression), Comm):
        raise checker.fail(
            expression.node, f"this is text, and {_spell(conversion)} is for numbers", hint="%s"
        )
    value = checker.value(expression.node)
    if expression.type is not None:
        kind = checker.type_of(expression.type)
        if not isinstance(kind, (IntType, PointerType)):
            raise checker.fail(expression.type, f"a value cannot be converted to {kind.text}")
        value = convert(value, kind)
    elif conversion is not None:
        value = _convert_to_shown(checker, expression, value, conversion)
    results.number(expression.text, _slot(value, conversion), value)


def _text_or_none(checker: Checker, expression: Expression) -> tuple[str, int, str] | Comm | None:
    try:
        return checker.text(expression.node)
    except ProbeSpecError:
        return None  # whatever it is, it is said of the value


def _is_text(checker: Checker, expression: Expression) -> bool:
    """Return whether a value without a conversion is shown as text, by its cast or else by its own type."""
    if expression.type is not None:
        return is_text(checker.type_of(expression.type))
    where = checker.text(expression.node)
    if where is None or isinstance(where, Comm):
        return where is not None
    kind = checker.value(expression.node).type
    # Of bytes that are no characters nobody knows that they are text.
    return isinstance(kind, PointerType) and isinstance(kind.to, IntType) and kind.to.char


def _convert_to_shown(
    checker: Checker, expression: Expression, value: Value, conversion: Conversion
) -> Value:
    """Convert a value to the type that its conversion shows. Raises ProbeSpecError if it cannot show it."""
    kind = value.type
    if conversion.is_number:
        return widen(value, conversion)
    if conversion.sign == "p":
        return convert(value, U64)
    if conversion.sign in "KU" and isinstance(kind, IntType) and kind.size != 8:
        raise checker.fail(expression.node, f"%{conversion.sign} is for addresses, and this is {kind.text}")
    if conversion.sign == "c" and not isinstance(kind, IntType):
        raise checker.fail(
            expression.node, f"%c is for a character, and this is {kind.text}", hint="%s, or %p"
        )
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


def _spell(conversion: Conversion) -> str:
    return f"%{conversion.how}{conversion.sign}"


def generate_functions(
    programs: Sequence[GeneratedProgram], specs: Sequence[int], tracked: Collection[int] = ()
) -> str:
    """Generate the functions that ``probe_specs.h`` calls, for programs by number.

    ``specs`` are the numbers of the programs' probe specs. Programs in ``tracked`` are also attached to
    functions' entries.
    """
    lines = [
        f"static __always_inline int pt_spec_matches({_PARAMETERS}, struct pt_call *call)",
        "{",
        "    u32 bad = 0;",
        "",
    ]
    for number, program in enumerate(programs):
        if program.condition:
            lines += [f"    if (program == {number})", f"        return ({program.condition}) && !bad;"]
    lines += ["    return !bad;", "}", ""]
    lines += [
        f"static __always_inline void pt_spec_evaluate({_PARAMETERS}, struct pt_call *call,",
        "                                             struct pt_results *to)",
        "{",
        "    u32 bad = 0;",
        "",
        "    to->unread = 0;",
    ]
    for number, program in enumerate(programs):
        if program.statements:
            lines += [
                f"    if (program == {number}) {{",
                *(f"        {s}" for s in program.statements),
                "    }",
            ]
    lines += ["}", ""]
    lines += [
        f"static __always_inline u64 pt_spec_key({_PARAMETERS}, struct pt_call *call, u32 *unread)",
        "{",
        "    u64 key = bpf_get_current_task();",
        "    u32 bad = 0;",
        "",
    ]
    for number, program in enumerate(programs):
        if program.key:
            lines += [f"    if (program == {number})", f"        key = {program.key};"]
    lines += ["    *unread = bad;", "    return key;", "}", ""]
    lines += [
        f"static __always_inline void pt_spec_save_entry({_PARAMETERS}, struct pt_call *to)",
        "{",
        "    u32 bad = 0;",
        "",
    ]
    for number, program in enumerate(programs):
        entry_values = (
            f"bad = 0; to->entry_values[{at}] = {code}; to->unread |= bad << {at};"
            for at, code in enumerate(program.entry_values)
        )
        if program.entry_values:
            lines += [f"    if (program == {number}) {{", *(f"        {s}" for s in entry_values), "    }"]
    lines += ["}", ""]
    lines += _generate_predicate(
        "pt_spec_traces_calls", [number for number, program in enumerate(programs) if program.traces_entry]
    )
    lines += _generate_predicate(
        "pt_spec_is_signed",
        [number for number, program in enumerate(programs) if _is_signed(program.results)],
    )
    lines += ["static __always_inline u32 pt_spec_number(u32 program)", "{"]
    lines += [
        f"    if (program == {program_number})\n        return {number};"
        for program_number, number in enumerate(specs)
    ]
    lines += ["    return 0;", "}"]
    for number, program in enumerate(programs):
        lines += ["", f"int spec_{number}(void *ctx)", "{", f"    return pt_on_spec(ctx, {number});", "}"]
        if program.traces_entry or number in tracked:
            lines += [
                "",
                f"int entry_{number}(void *ctx)",
                "{",
                f"    return pt_on_spec_entry(ctx, {number});",
                "}",
            ]
    return "\n".join(lines) + "\n"


def _is_signed(results: Sequence[ResultField]) -> bool:
    return bool(results) and results[0].slot in (ResultSlot.SIGNED, ResultSlot.CHARACTER)


def _generate_predicate(function: str, numbers: Sequence[int]) -> list[str]:
    """Generate a C function that returns whether a program is one of these."""
    condition = " || ".join(f"program == {number}" for number in numbers)
    return [
        f"static __always_inline int {function}(u32 program)",
        "{",
        f"    return {condition or '0'};",
        "}",
        "",
    ]
