"""Signatures that users write: names and types for what registers hold."""

from __future__ import annotations

from pytracer.errors import ProbeSpecError
from pytracer.lang.checker import Checker
from pytracer.lang.probe_spec import ProbeSpec
from pytracer.lang.scope import Operand, Scope, Value
from pytracer.lang.types import ArrayType, IntType, PointerType, StructType, Type, VoidType
from pytracer.record import replace


def retype(code: str, kind: Type) -> Value:
    """Read a register as a type: only the type's low bytes are meaningful."""
    if isinstance(kind, IntType):
        return Value(f"(({kind.c}){code})", kind)
    if isinstance(kind, PointerType):
        return Value(f"((u64){code})", kind)
    return Value("0", VoidType(f"{kind.text} that is passed by value"))


def apply_signature(spec: ProbeSpec, scope: Scope) -> Scope:
    """Return the scope with the names and types of the spec's signature. Raises ProbeSpecError."""
    if not spec.signature:
        return scope
    if scope.entry is not None:
        entry = _named(spec, scope.entry)
        named = dict[str, Operand](entry.named) if scope.numbered else {}
        return replace(scope, entry=entry, named=named, numbered=entry.numbered if scope.numbered else ())
    return _named(spec, scope)


def _named(spec: ProbeSpec, scope: Scope) -> Scope:
    checker = Checker(spec.text, scope)
    if not scope.numbered:
        first, last = spec.signature[0], spec.signature[-1]
        reason = "its fields have names already" if scope.record else scope.missing_reason
        raise ProbeSpecError(f"{scope.what} takes no signature: {reason}", spec.text, first.start, last.end)
    named = dict[str, Operand]()
    numbered = list(scope.numbered)
    for number, parameter in enumerate(spec.signature):
        if number == len(numbered):
            raise checker.fail(parameter, f"only {len(numbered)} arguments can be looked at")
        kind = checker.type_of(parameter.type)
        if isinstance(kind, (StructType, ArrayType, VoidType)):
            raise checker.fail(
                parameter.type, f"no argument can be a {kind.text}", hint="an address of one is: with a *"
            )
        before = numbered[number]
        if not isinstance(before, Value) or isinstance(before.type, VoidType):
            raise checker.fail(parameter, f"this argument of {scope.what} cannot be read")
        named[parameter.name] = numbered[number] = retype(before.code, kind)
    return replace(scope, named=named, numbered=tuple(numbered), missing_reason="")
