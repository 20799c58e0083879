"""Translate compile-time questions of scripts: types of expressions, literals, the kind of the probe."""

from __future__ import annotations

from collections.abc import Callable

from pytracer.lang import syntax
from pytracer.lang.arithmetic import number
from pytracer.lang.scope import Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.comparisons import BOOL
from pytracer.lang.script.string_functions import StringFunctions
from pytracer.lang.script.types import (
    AggregateType,
    BufferType,
    CompositeType,
    IntArrayType,
    RecordType,
    StringType,
    type_name,
)
from pytracer.lang.syntax import Node
from pytracer.lang.types import ArrayType, IntType, PointerType, StructType, Type

_BASES: tuple[tuple[type, str], ...] = (
    (IntType, "int"),
    (PointerType, "pointer"),
    (StringType, "string"),
    (BufferType, "buffer"),
    (IntArrayType, "array"),
    (ArrayType, "array"),
    (RecordType, "record"),
    (CompositeType, "tuple"),
    (StructType, "struct"),
)
_TYPE_TESTS = ("is_str", "is_ptr", "is_array", "is_integer", "is_unsigned_integer")
_TYPEINFO = ("base_type", "full_type")
_PROBE_TYPES = {
    "k": "kprobe",
    "kr": "kretprobe",
    "f": "fentry",
    "fr": "fexit",
    "t": "tracepoint",
    "rt": "rawtracepoint",
    "u": "uprobe",
    "ur": "uretprobe",
    "usdt": "usdt",
    "begin": "special",
    "end": "special",
    "self": "special",
    "i": "interval",
    "p": "profile",
}
"""The types of probes as scripts know them, by what a target's name begins with."""


class Introspection(StringFunctions):
    """Translates expressions that are known before a script runs.

    ``probe_name`` is the value of ``probe``.
    """

    probe_name = ""

    def constant_text(self, node: Node) -> str | None:
        """See ScriptExpressions."""
        match node:
            case syntax.TextLiteral():
                return node.value
            case syntax.Name() if node.name in self.substitutes:
                return self.expand_parameter(node.name, self.constant_text)
            case syntax.Name() | script.Call() if node.name.removeprefix("__builtin_") == "probetype":
                return self.probe_type
            case syntax.Name() | script.Call() if node.name.removeprefix("__builtin_") == "probe":
                return self.probe_name or None
            case syntax.Name() if node.name[:1] == "$" and node.name[1:].isdecimal():
                text = self.parameter(int(node.name[1:]))
                return text if text and not text.lstrip("-").isdecimal() else None
            case syntax.Member(of=script.Call(name="typeinfo") as call) if node.name in _TYPEINFO:
                return self._type_words(call)[_TYPEINFO.index(node.name)]
            case syntax.Index() if (indexed := self.constant_text(node.of)) is not None:
                index = self.constant_or_none(node.index)
                return indexed[index] if index is not None and 0 <= index < len(indexed) else None
            case syntax.Binary(sign="+") if (indexed := self.constant_text(node.left)) is not None:
                count = self.constant_or_none(node.right)  # characters from the begin of $1
                return indexed[count:] if count is not None and count >= 0 else None
            case script.BlockExpression(statements=()):
                return self.constant_text(node.last)
        return None

    @property
    def probe_type(self) -> str:
        """The type of the block's probe: ``kprobe``, ``special``."""
        word = self.scope.what.partition(":")[0]
        return _PROBE_TYPES.get(word.lower(), word)

    def _type_words(self, call: script.Call) -> tuple[str, str]:
        if len(call.arguments) != 1:
            raise self.fail(call, "typeinfo() takes a type or an expression")
        return type_words(self.type_of_argument(call.arguments[0]))

    def _typeinfo(self, node: script.Call, _to: str, _room: int) -> Value:
        raise self.fail(node, "typeinfo() is a record of texts", hint="typeinfo(x).base_type")

    def _probetype(self, node: script.Call, dst: str, capacity: int) -> Value:
        return self.literal(syntax.TextLiteral(node.start, node.end, self.probe_type), dst, capacity)

    def _is_type(self, node: script.Call, _to: str, _room: int) -> Value:
        """Translate ``is_str(x)`` and its like."""
        base, full = type_words(self.type_of_argument(node.arguments[0]))
        expected = {
            "is_str": base == "string",
            "is_ptr": base == "pointer",
            "is_array": base == "array",
            "is_integer": base == "int",
            "is_unsigned_integer": base == "int" and full.startswith("u"),
        }
        return number(int(expected[node.name]), BOOL)

    def _is_literal(self, node: script.Call, _to: str, _room: int) -> Value:
        return number(int(self._has_literal(node.arguments[0])), BOOL)

    def _has_literal(self, node: Node) -> bool:
        if isinstance(node, syntax.Name) and node.name in self.substitutes:
            return self.expand_parameter(node.name, self._has_literal)
        if isinstance(node, syntax.Name):
            return node.name in ("true", "false")
        return isinstance(node, (syntax.NumberLiteral, syntax.TextLiteral))

    def _static_assert(self, node: script.Call, _to: str, _room: int) -> Value:
        condition = self.value(node.arguments[0])
        if not self.is_decided(condition):
            if self.state.has_pending:
                return number(0, BOOL)
            raise self.fail(node.arguments[0], "this is not known before the script runs")
        if not condition.constant:
            raise self.fail(node, self.constant_text(node.arguments[1]) or "the assertion does not hold")
        return number(1, BOOL)

    def _kfunc(self, node: script.Call, _to: str, _room: int) -> Value:
        """Translate ``kfunc_exist(name)`` and ``kfunc_allowed(name)``; programs of BCC call no kfuncs."""
        if self.constant_text(node.arguments[0]) is None:
            raise self.fail(node.arguments[0], f"{node.name}() takes a name in quotes")
        name = self.constant_text(node.arguments[0]) or ""
        exists = node.name == "kfunc_exist" and bool(self.state.kernel_address(name))
        return number(int(exists), BOOL)


def type_words(kind: Type) -> tuple[str, str]:
    """Return a type's base (``int``, ``string``) and its whole name, as scripts know them."""
    base = next((word for base_type, word in _BASES if isinstance(kind, base_type)), "")
    if isinstance(kind, AggregateType):
        base = kind.text
    full = type_name(kind)
    return base or full, full


_Translate = Callable[["Introspection", script.Call, str, int], Value]
INTROSPECTION: dict[str, tuple[_Translate, int, int]] = {
    **dict.fromkeys(_TYPE_TESTS, (Introspection._is_type, 1, 1)),
    "is_literal": (Introspection._is_literal, 1, 1),
    "probetype": (Introspection._probetype, 0, 0),
    "typeinfo": (Introspection._typeinfo, 1, 1),
    "static_assert": (Introspection._static_assert, 2, 2),
    "kfunc_exist": (Introspection._kfunc, 1, 1),
    "kfunc_allowed": (Introspection._kfunc, 1, 1),
}
"""By name: how each is translated, and how many arguments it takes at least and at most."""
