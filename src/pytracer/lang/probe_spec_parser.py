"""Parse a whole probe spec: ``PROBE[(SIGNATURE)] [(FILTER)] ["FORMAT", ARGUMENTS]`` of trace, and
``PROBE(SIGNATURE)[:TYPES:EXPRESSIONS[:FILTER]][#LABEL]`` of argdist."""

from __future__ import annotations

import re

from pytracer.errors import ProbeSpecError, UsageError
from pytracer.lang import syntax
from pytracer.lang.expressions import ExpressionParser
from pytracer.lang.formats import parse_format
from pytracer.lang.lexer import END, LABEL, TEXT
from pytracer.lang.probe_spec import Expression, ProbeSpec
from pytracer.lang.syntax import Node, Parameter
from pytracer.record import replace
from pytracer.spec import SPELLINGS, Source, parse_source, quoting

_NAME = rf"(?<=[:|@])(?:{quoting.QUOTED})"  # in quotes, as it may stand behind a colon
_METHOD = r"(?<=\.)\(\*[^\s()\"]+\)"  # of a Go type: main.(*T).m
_PROBE = re.compile(rf"(?:{_NAME}|{_METHOD}|[^\s(\"])*")
_LABELLED = re.compile(rf"(?:{_NAME}|{_METHOD}|[^\s(\"#])*")
_KINDS = {name for kind, s in SPELLINGS.items() for name in (kind, *s.long)}
_RETURNS = ("kr", "fr", "ur")
_MOST = 16  # expressions of a probe spec


def source_of(text: str) -> Source:
    """Parse the source of a probe: in pytracer's spelling, or in BCC's: ``p:LIBRARY:FUNCTION``,
    ``r::FUNCTION``, ``LIBRARY:FUNCTION``. Raises UsageError."""
    if match := re.fullmatch(r"([pr]?)::(.*)", text, re.DOTALL):  # no library: the kernel's
        return parse_source(f"k{match[1].strip('p')}:{match[2]}")
    parts = quoting.split(text, ":")
    head = parts[0]
    if len(parts) == 1 or head in _KINDS - {"p", "r"}:
        return parse_source(text)
    if head in ("p", "r", ""):
        function, library = parts[-1], ":".join(parts[1:-1])
        in_program = bool(library)
    else:  # LIBRARY:FUNCTION
        function, library = parts[-1], ":".join(parts[:-1])
        in_program = True
    kind = ("u" if in_program else "k") + "r" * (head == "r")
    return parse_source(":".join((kind, library, function)) if in_program else f"{kind}:{function}")


def parse_trace(text: str) -> ProbeSpec:
    """Parse a probe spec of ``trace``. Raises ProbeSpecError, or UsageError if it names no source."""
    source, signature, parser = _begin(text)
    condition = _filter(parser) if parser.at("(") else None
    if parser.next.kind == END:
        return ProbeSpec(text, source, signature, condition, is_bare=True)
    form = parser.next
    if form.kind != TEXT:
        hint = 'PROBE (FILTER) "FORMAT", ARGUMENTS'
        raise parser.unexpected(hint)
    parser.take()
    pieces = parse_format(text, form.start + 1, form.end - 1)
    found = list[Expression]()
    while parser.skip(","):
        found.append(_expression(parser))
    if parser.next.kind != END:
        raise parser.unexpected("arguments stand behind commas")
    spec = ProbeSpec(text, source, signature, condition, pieces, tuple(found))
    _check_count(spec, form.start, form.end)
    return spec


def parse_distribution(text: str) -> ProbeSpec:
    """Parse a probe spec of ``argdist``. Raises the errors of :func:`parse_trace`."""
    source, signature, parser = _begin(text, label=True)
    found = list[Expression]()
    condition: Node | None = None
    if parser.skip(":"):
        types = []
        if not parser.at(":"):
            types.append(parser.type_name())
            while parser.skip(","):
                types.append(parser.type_name())
        parser.expect(":", "between types and expressions")
        first = parser.next
        found.append(_expression(parser))
        while parser.skip(","):
            found.append(_expression(parser))
        if types and len(types) != len(found):
            raise ProbeSpecError(
                f"{len(found)} to be counted, and {len(types)} types",
                text,
                first.start,
                found[-1].node.end,
                hint="a type for each, or ::EXPRESSIONS for their own",
            )
        found = [
            Expression(expression.text, expression.node, types[number] if types else None)
            for number, expression in enumerate(found)
        ]
        if parser.skip(":"):
            condition = parser.expression()
    elif source.kind in _RETURNS:
        # As in BCC: what it returns.
        length = len(text)
        return_type = syntax.TypeName(0, length, ("int",)) if source.kind == "ur" else None
        found.append(Expression("$retval", syntax.Name(0, length, "$retval"), return_type))
    label = ""
    if parser.next.kind == LABEL:
        label = str(parser.take().value)
    if parser.next.kind != END:
        raise parser.unexpected("PROBE(SIGNATURE):TYPES:EXPRESSIONS:FILTER#LABEL")
    return ProbeSpec(text, source, signature, condition, (), tuple(found), label)


def parse_expressions(text: str, *, limit: int = _MOST) -> tuple[Expression, ...]:
    """Parse up to ``limit`` expressions of an option, with commas between them. Raises ProbeSpecError."""
    parser = ExpressionParser(text)
    found = [replace(_expression(parser), whole=text)]
    while len(found) < limit and parser.skip(","):
        found.append(replace(_expression(parser), whole=text))
    if parser.next.kind != END:
        raise parser.unexpected("expressions stand behind commas" if limit > 1 else "one expression is taken")
    return tuple(found)


def parse_pair(
    start: str, end: str, *, key: str = "", end_key: str = "", by: str = "", end_by: str = ""
) -> tuple[ProbeSpec, ProbeSpec]:
    """Parse the two ends of ``latency``: probe specs of ``trace``, the keys that match them (an end has the
    key of its start, if it has none of its own), and what groups them. Raises ProbeSpecError, or UsageError
    if both are the same event."""
    start_spec, end_spec = parse_trace(start), parse_trace(end)
    if (start_spec.source, start_spec.filter) == (end_spec.source, end_spec.filter):
        raise UsageError(
            f"{end!r} is both the start and the end", hint="filters tell two ends of one event apart"
        )
    keys = [parse_expressions(text, limit=1)[0] if text else None for text in (key, end_key or key)]
    groups = [parse_expressions(text) if text else () for text in (by, end_by)]
    if end_key and not key:
        raise UsageError("the end has a key, and the start has none", hint="both, or the key of both")
    return replace(start_spec, key=keys[0], by=groups[0]), replace(end_spec, key=keys[1], by=groups[1])


def _begin(text: str, *, label: bool = False) -> tuple[Source, tuple[Parameter, ...], ExpressionParser]:
    """Parse the probe and its signature; also return a parser for the rest."""
    start = len(text) - len(text.lstrip())
    match = (_LABELLED if label else _PROBE).match(text, start)
    assert match is not None
    end = match.end()
    if end == start:
        raise ProbeSpecError("a probe is expected here", text, start, start + 1, hint="as in k:vfs_read")
    if label and text[end : end + 1] != "(":
        end = _without_parentheses(text, start, end)
    source = _source(text, start, end)
    parser = ExpressionParser(text, end)
    signature: tuple[Parameter, ...] = ()
    if parser.at("(") and parser.next.start == end:
        try:
            signature = parser.signature()
        except ProbeSpecError:
            end = _end_of_parameters(text, source, end)
            if not end:
                raise
            source, parser = _source(text, start, end), ExpressionParser(text, end)
    return source, signature, parser


def _end_of_parameters(text: str, source: Source, start: int) -> int:
    """Return the end of the parameters of a C++ function that was written with them: ``ns::f(int, char*)``;
    0 if they cannot be told from a signature."""
    if source.kind not in ("u", "ur") or not re.search(r"::|<", source.name):
        return 0
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if not depth:
            return at + 1
    return 0


def _without_parentheses(text: str, start: int, end: int) -> int:
    """Return the end of a probe without parentheses: the whole word, if it is a valid source."""
    word = text[start:end]
    try:
        source_of(word)
    except UsageError:
        pass
    else:
        return end
    for position in reversed([match.start() for match in re.finditer(":", word)]):
        rest = word[position:]
        if re.match(r":[\w *,]*:.", rest):
            try:
                source_of(word[:position])
            except UsageError:
                continue
            raise ProbeSpecError(
                "parentheses must stand between the probe and the types",
                text,
                start,
                start + position,
                hint=f"{word[:position]}(){rest}",
            )
    return end


def _source(text: str, start: int, end: int) -> Source:
    try:
        return source_of(text[start:end])
    except ProbeSpecError:
        raise
    except UsageError as error:
        raise ProbeSpecError(error.message, text, start, end, hint=error.hint) from None


def _filter(parser: ExpressionParser) -> Node:
    parser.expect("(")
    condition = parser.expression()
    parser.expect(")", "after the filter")
    return condition


def _expression(parser: ExpressionParser) -> Expression:
    start = parser.next.start
    node = parser.expression()
    return Expression(" ".join(parser.text[start : parser.taken].split()), node)


def _check_count(spec: ProbeSpec, start: int, end: int) -> None:
    """Check that there are as many arguments as conversions, and not too many. Raises ProbeSpecError."""
    conversions, found = spec.conversions, spec.expressions
    if len(found) > len(conversions):
        first = found[len(conversions)].node
        raise ProbeSpecError(
            f"{len(found)} arguments, and {len(conversions)} conversions in the format",
            spec.text,
            first.start,
            found[-1].node.end,
            hint="this is for none of them",
        )
    if len(found) < len(conversions):
        missing = conversions[len(found)]
        raise ProbeSpecError(
            f"{len(conversions)} conversions in the format, and {len(found)} arguments",
            spec.text,
            missing.start,
            missing.end,
            hint="there is no argument for this",
        )
    if len(found) > _MOST:
        raise ProbeSpecError(f"more than {_MOST} arguments", spec.text, start, end)
