"""Translate the binary operators of scripts: of numbers, addresses, strings and other values."""

from __future__ import annotations

from pytracer.lang import syntax
from pytracer.lang.arithmetic import COMPARISONS, as_type, binary, convert, logical, number
from pytracer.lang.scope import Value
from pytracer.lang.script.comparisons import BOOL, COMPARABLE, Comparisons
from pytracer.lang.script.types import StringType
from pytracer.lang.syntax import Node
from pytracer.lang.types import S64, U64, IntType, PointerType
from pytracer.record import replace

_DIVISION = (
    "Divide or modulo by 0 detected. This can lead to unexpected results. 1 is being used as the result."
)


class Operators(Comparisons):
    """Translates binary operators. ``guards`` is the number of ``&&`` and ``||`` on whose right side this is:
    the code there runs although C would skip it."""

    guards = 0

    def constant_text(self, node: Node) -> str | None:
        """Return a text that is known before the script runs, None of anything else; adds no code."""
        raise NotImplementedError

    def warn_at_run(self, node: Node, condition: str, message: str) -> None:
        """Add code that sends a warning where a condition of C holds."""
        raise NotImplementedError

    def _binary(self, node: syntax.Binary) -> Value:
        if node.sign in ("==", "!="):
            texts = self.constant_text(node.left), self.constant_text(node.right)
            if None not in texts:
                return number(int((texts[0] == texts[1]) == (node.sign == "==")), BOOL)
        left = self.value(node.left)
        is_guard = node.sign in ("&&", "||")
        self.guards += is_guard
        right = self.value(node.right)
        self.guards -= is_guard
        if is_guard:
            for part, value in ((node.left, left), (node.right, right)):
                self.check_number(part, value)
            return logical(node.sign, left, right)
        if isinstance(left.type, StringType) or isinstance(right.type, StringType):
            return self.compare_strings(node, left, right)
        if isinstance(left.type, COMPARABLE) and isinstance(right.type, COMPARABLE):
            return self.compare_values(node, left, right)
        for part, value in ((node.left, left), (node.right, right)):
            self.check_number(part, value)
        if isinstance(left.type, IntType) and isinstance(right.type, IntType):
            left, right = as_wide(left, right)
        elif node.sign in COMPARISONS or not isinstance(left.type, PointerType):
            left, right = convert(left, U64), convert(right, U64)
        divides = node.sign in ("/", "%")
        if divides and right.constant == 0:
            return number(1, S64)
        if divides and right.constant is None:
            right = replace(right, code=self.temporary(as_type(right.type), right.code))
            self.warn_at_run(node, f"!{right.code}", _DIVISION)
        result = binary(node, left, right, self.fail, check_signs=False)
        if divides and right.constant is None:  # what is divided by 0 is 1
            result = replace(result, code=f"({right.code} ? {result.code} : 1)")
        if node.sign in COMPARISONS:
            return Value(result.code, BOOL, result.constant)
        if node.sign == "-" and isinstance(result.type, IntType):
            return convert(result, S64)
        return result


def as_wide(left: Value, right: Value) -> tuple[Value, Value]:
    """Convert both numbers to 64 bits: signed if one of them is signed and not a literal above -1."""

    def is_signed(value: Value) -> bool:
        assert isinstance(value.type, IntType)
        return value.type.signed and not (value.constant is not None and value.constant >= 0)

    both_literals = left.constant is not None and right.constant is not None
    signed = is_signed(left) or is_signed(right) or both_literals
    kind = S64 if signed else U64
    return convert(left, kind), convert(right, kind)
