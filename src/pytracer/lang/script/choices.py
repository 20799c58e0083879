"""Translate choices between two expressions: ``condition ? yes : no``, and ``if`` with values."""

from __future__ import annotations

from collections.abc import Sequence

from pytracer.lang import syntax
from pytracer.lang.arithmetic import as_type, convert
from pytracer.lang.scope import Value
from pytracer.lang.script.expression_translator import ScriptExpressions
from pytracer.lang.script.operators import as_wide
from pytracer.lang.script.types import in_memory, stored, stored_size, unify
from pytracer.lang.syntax import Node
from pytracer.lang.types import IntType, PointerType, Type


class Choices(ScriptExpressions):
    """Translates choices."""

    def _conditional(self, node: syntax.Conditional) -> Value:
        """Translate a conditional expression; only the chosen operand is evaluated."""
        condition = self.number(node.condition)
        if self.is_decided(condition):
            return self.value(node.yes if condition.constant else node.no)
        outer, self.lines = self.lines, []
        yes, added = self.value(node.yes), self.lines
        self.lines = []
        no, others = self.value(node.no), self.lines
        self.lines = outer
        if not (in_memory(yes.type) or in_memory(no.type)):
            if isinstance(yes.type, IntType) and isinstance(no.type, IntType) and yes.type != no.type:
                yes, no = as_wide(yes, no)
            kind = yes.type if isinstance(yes.type, PointerType) else no.type
            yes, no = convert(yes, kind), convert(no, kind)
            if not added and not others:
                return Value(f"(({as_type(kind)})(({condition.code}) ? {yes.code} : {no.code}))", kind)
            result = self.temporary(as_type(kind), "0")
            self._choose(condition, [*added, f"{result} = {yes.code};"], [*others, f"{result} = {no.code};"])
            return Value(result, kind)
        both = self.common_type(node, yes.type, no.type)
        dst = self.memory(stored_size(both))
        self.lines = added
        self.copy(yes, dst, both)
        self.lines = others
        self.copy(no, dst, both)
        self.lines = outer
        self._choose(condition, added, others)
        return Value(dst, both)

    def is_decided(self, condition: Value) -> bool:
        """Return whether a condition is known before the script runs, and only one of two branches counts."""
        return condition.constant is not None and not self.state.has_pending

    def _choose(self, condition: Value, yes: Sequence[str], no: Sequence[str]) -> None:
        self.line(f"if ({condition.code}) {{")
        self.lines += yes
        self.line("} else {")
        self.lines += no
        self.line("}")

    def common_type(self, node: Node, first: Type, other: Type) -> Type:
        """Return a type that holds both. Raises ProbeSpecError if there is none."""
        both = unify(stored(first), stored(other))
        if both is None:
            raise self.fail(node, f"the one is {first.text}, the other {other.text}")
        return both
