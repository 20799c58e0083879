"""Translate comparisons of strings, buffers, arrays, tuples and records."""

from __future__ import annotations

from pytracer.lang import syntax
from pytracer.lang.scope import Value
from pytracer.lang.script.types import (
    ArrayValueType,
    BufferType,
    IntArrayType,
    RecordType,
    StringType,
    SymbolType,
    TupleType,
    stored_size,
    unify,
)
from pytracer.lang.script.values import ValueWriter
from pytracer.lang.syntax import Node
from pytracer.lang.types import INT, IntType, PointerType, StoredType, is_text

BOOL = IntType(1, False, boolean=True)
COMPARABLE = (ArrayValueType, BufferType, IntArrayType, RecordType, SymbolType, TupleType)
"""Types whose values can be compared with others of the type."""


class Comparisons(ValueWriter):
    """Translates comparisons."""

    def check_number(self, node: Node, value: Value) -> None:
        """Check that a value is a number or an address. Raises ProbeSpecError."""
        if isinstance(value.type, StoredType):
            raise self.fail(node, f"a number is expected here, and this is a {value.type.text}")

    def compare_strings(self, node: syntax.Binary, left: Value, right: Value) -> Value:
        """Compare two strings; addresses of strings are read."""
        if node.sign not in ("==", "!="):
            raise self.fail(node, f"{node.sign!r} makes no sense of strings", hint="== and != do")
        parts = []
        for part, value in ((node.left, left), (node.right, right)):
            if isinstance(value.type, PointerType) and is_text(value.type):
                value = self.read_string(value.code, self.state.string_room, self._memory(value.type))
            if not isinstance(value.type, StringType):
                raise self.fail(part, f"this is no string ({value.type.text})")
            parts.append(value)
        first, second = parts
        comparison = self.equal(first, second)
        return comparison if node.sign == "==" else Value(f"((s32)!{comparison.code})", INT)

    def compare_values(self, node: syntax.Binary, left: Value, right: Value) -> Value:
        """Compare two arrays, tuples, records, buffers or functions."""
        if node.sign not in ("==", "!="):
            raise self.fail(node, f"{node.sign!r} makes no sense of {left.type.text}", hint="== and != do")
        kind = unify(left.type, right.type)
        if kind is None:
            raise self.fail(node, f"the one is {left.type.text}, the other {right.type.text}")
        codes = []
        for value in (left, right):
            code = value.code if value.type == kind else self.memory(stored_size(kind))
            self.copy(value, code, kind)
            codes.append(code)
        compare = "script_same_bytes" if isinstance(kind, BufferType) else "script_same"
        comparison = self.temporary("s32", f"{compare}({codes[0]}, {codes[1]}, {stored_size(kind)})")
        return Value(f"((s32)({comparison} {node.sign} 1))", BOOL)

    def equal(self, first: Value, second: Value, limit: int = 0) -> Value:
        """Return whether two strings are the same, or their first ``limit`` bytes."""
        assert isinstance(first.type, StringType)
        assert isinstance(second.type, StringType)
        if first.type.capacity > second.type.capacity:
            first, second = second, first
        assert isinstance(first.type, StringType)
        size = min(first.type.capacity, limit) if limit else first.type.capacity
        code = f"script_equal({first.code}, {second.code}, {size}, {int(bool(limit))})"
        return Value(self.temporary("s32", code), INT)
