"""Give a probe spec without a format one that shows all values that are known at a target, by name."""

from __future__ import annotations

from collections.abc import Iterator

from pytracer.lang import syntax
from pytracer.lang.formats import Conversion
from pytracer.lang.probe_spec import Expression, ProbeSpec
from pytracer.lang.scope import Comm, Operand, Scope
from pytracer.lang.signature import apply_signature
from pytracer.lang.types import ArrayType, IntType, PointerType, Type
from pytracer.record import replace

_MOST = 16  # values of a probe spec
_OF_EVERY_EVENT = ("common_", "__syscall_nr")  # fields that say what the event's name does
_WHOLE = 8  # bytes: no number is truncated


def with_known_values(spec: ProbeSpec, scope: Scope) -> ProbeSpec:
    """Return the spec with a format of the values whose types are known and can be shown: fields or arguments
    by name, those of USDT probes by number, and the return value."""
    pieces, expressions = list[str | Conversion](), list[Expression]()
    for name, operand in _known(spec, apply_signature(spec, scope)):
        sign = "" if isinstance(operand, Comm) else _sign(operand.type)
        if sign and len(expressions) < _MOST:
            pieces += [f"{' ' * bool(expressions)}{name}=", Conversion("", sign, _WHOLE, 0, 0)]
            expressions.append(Expression(name, syntax.Name(0, len(name), name)))
    return replace(spec, pieces=tuple(pieces), expressions=tuple(expressions))


def _known(spec: ProbeSpec, scope: Scope) -> Iterator[tuple[str, Operand]]:
    for name, operand in scope.named.items():
        if not name.startswith(_OF_EVERY_EVENT):
            yield name, operand
    if spec.source.kind == "usdt":
        yield from ((f"arg{number}", operand) for number, operand in enumerate(scope.numbered, start=1))
    if scope.returned is not None and not _is_register(scope.returned.type):
        yield "retval", scope.returned


def _is_register(kind: Type) -> bool:
    """Return whether nothing is known of a value but that a register has it."""
    return isinstance(kind, IntType) and kind.loose


def _sign(kind: Type) -> str:
    """Return the letter of the conversion that shows values of a type; "" if none does."""
    if isinstance(kind, (ArrayType, PointerType)):
        of = kind.of if isinstance(kind, ArrayType) else kind.to
        if isinstance(of, IntType) and of.char:
            return "s"
        return "p" if isinstance(kind, PointerType) else ""
    if not isinstance(kind, IntType):
        return ""
    return "c" if kind.char else "d" if kind.signed else "u"
