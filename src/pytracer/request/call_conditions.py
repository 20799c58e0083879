"""Parse conditions on the arguments of a system call: what a filter of system calls can test."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytracer.errors import ProbeSpecError
from pytracer.lang import lexer, syntax
from pytracer.lang.constants import constants
from pytracer.lang.expressions import ExpressionParser
from pytracer.request.request import Condition

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_ARGUMENT = re.compile(r"arg([1-6])")
_HINT = "such as 'arg1 == 3 && arg3 & O_CREAT': arg1 to arg6, numbers, names of constants"
_WIDE, _NARROW = (1 << 64) - 1, (1 << 32) - 1
_CASTS = {
    "int": (_NARROW, True),
    "unsigned": (_NARROW, False),
    "unsigned int": (_NARROW, False),
    "s32": (_NARROW, True),
    "u32": (_NARROW, False),
}
_MAX_CONDITIONS = 32


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Parse tests that are joined by ``&&``: ``argN == NUMBER`` (or another comparison, without a sign),
    ``argN & MASK`` and ``(argN & MASK) == NUMBER``; ``(int)argN`` takes the lower 32 bits.

    Raises ProbeSpecError, which points at what no filter can test.
    """
    parser = ExpressionParser(text)
    node = parser.expression()
    if parser.next.kind != lexer.END:
        raise parser.unexpected(hint=_HINT)
    return tuple(_Conditions(text).iter_all(node))


class _Conditions:
    def __init__(self, text: str) -> None:
        self._text = text
        self._count = 0

    def iter_all(self, node: syntax.Node) -> Iterator[Condition]:
        """Yield the conditions that a node joins by ``&&``."""
        if isinstance(node, syntax.Binary) and node.sign == "&&":
            yield from self.iter_all(node.left)
            yield from self.iter_all(node.right)
            return
        self._count += 1
        if self._count > _MAX_CONDITIONS:
            raise self._fail(node, f"more than {_MAX_CONDITIONS} conditions")
        yield self._parse(node)

    def _parse(self, node: syntax.Node) -> Condition:
        if isinstance(node, syntax.Binary) and node.sign in _COMPARISONS:
            index, mask, is_signed = self._argument(node.left)
            if is_signed and node.sign not in ("==", "!="):
                raise self._fail(node, "a filter compares without a sign", hint="(unsigned)arg1 > 5")
            value = self._number(node.right)
            if value < 0 and not is_signed:
                raise self._fail(node.right, "a negative number", hint="(int)arg1 == -100 compares 32 bits")
            return Condition(index, node.sign, value & (_NARROW if is_signed else _WIDE), mask)
        index, mask, _ = self._argument(node)
        return Condition(index, "!=", 0, mask)

    def _argument(self, node: syntax.Node) -> tuple[int, int, bool]:
        """Return the index of an argument, the mask of its bits, and whether it is a number with a sign."""
        if isinstance(node, syntax.Binary) and node.sign == "&":
            index, mask, is_signed = self._argument(node.left)
            return index, mask & self._number(node.right), is_signed
        if isinstance(node, syntax.Cast) and node.type.text in _CASTS:
            index, mask, _ = self._argument(node.of)
            narrow, is_signed = _CASTS[node.type.text]
            return index, mask & narrow, is_signed
        if isinstance(node, syntax.Name) and (match := _ARGUMENT.fullmatch(node.name)):
            return int(match[1]) - 1, _WIDE, False
        raise self._fail(node, "this is no argument")

    def _number(self, node: syntax.Node) -> int:
        match node:
            case syntax.NumberLiteral():
                return node.value
            case syntax.Name() if node.name in constants():
                return constants()[node.name]
            case syntax.Unary() if node.sign in "-+~":
                value = self._number(node.of)
                return {"-": -value, "+": value, "~": ~value & _WIDE}[node.sign]
            case syntax.Binary() if node.sign == "|":
                return self._number(node.left) | self._number(node.right)
        raise self._fail(node, "this is no number")

    def _fail(self, node: syntax.Node, message: str, hint: str = _HINT) -> ProbeSpecError:
        return ProbeSpecError(message, self._text, node.start, node.end, hint=hint)
