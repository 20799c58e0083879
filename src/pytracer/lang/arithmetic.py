"""Generate C for arithmetic on numbers and addresses, with C's own rules, but without undefined behaviour.

Sums are unsigned, shift counts are masked to the width, and a division by 0 counts as an unreadable value
(``bad``).
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from pytracer.lang.formats import Conversion
from pytracer.lang.scope import Value
from pytracer.lang.syntax import Binary, Node, Unary
from pytracer.lang.types import (
    INT,
    S64,
    U64,
    ArrayType,
    IntType,
    PointerType,
    StructType,
    Type,
    common,
    promote,
)

Fail = Callable[..., Exception]
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
COMPARISONS = tuple(_COMPARE)
_WRAPPED = ("+", "-", "*", "&", "|", "^")


def as_type(kind: Type) -> str:
    """Return the C type that its values have in the C that is written."""
    return kind.c if isinstance(kind, IntType) else "u64"


def convert(value: Value, kind: Type) -> Value:
    """Convert a number or address to another type."""
    constant = value.constant
    if isinstance(kind, IntType) and kind.boolean:
        return Value(f"((u8)(({value.code}) != 0))", kind, None if constant is None else int(constant != 0))
    if constant is not None and isinstance(kind, IntType):
        constant &= (1 << 8 * kind.size) - 1
        if kind.signed and constant >> (8 * kind.size - 1):
            constant -= 1 << 8 * kind.size
    return Value(f"(({as_type(kind)})({value.code}))", kind, constant)


def number(value: int, kind: IntType) -> Value:
    """Generate a constant."""
    return Value(f"(({kind.c}){value & (1 << 64) - 1:#x}ULL)", kind, value)


def widen(value: Value, conversion: Conversion) -> Value:
    """Convert a number or address to the value that C's printf shows for ``conversion``.

    A number is promoted as C promotes an argument: one narrower than int becomes an int, zero-extended if
    it is unsigned and sign-extended if it is signed. Only then the conversion says how to read it. ``hh``
    and ``h`` truncate it, other lengths never make it narrower. For a register without a type, the
    conversion gives the number of bytes.
    """
    kind = value.type if isinstance(value.type, IntType) else U64
    signed = conversion.signed
    if kind.loose or conversion.size < INT.size:
        return convert(value, IntType(conversion.size, signed))
    kind = promote(kind)
    return convert(convert(value, kind), IntType(max(kind.size, conversion.size), signed))


def size_of(kind: Type) -> int:
    """Return the size of a value in bytes; 0 if it is unknown."""
    if isinstance(kind, (IntType, StructType)):
        return kind.size
    if isinstance(kind, ArrayType):
        return size_of(kind.of) * kind.length
    return 8 if isinstance(kind, PointerType) else 0


def _number(node: Node, value: Value, fail: Fail, operation: str) -> IntType:
    if not isinstance(value.type, IntType):
        raise fail(node, f"{operation} takes numbers, and this is {_article(value.type)}")
    return value.type


def _article(kind: Type) -> str:
    return f"an address ({kind.text})" if isinstance(kind, PointerType) else f"a {kind.text}"


def unary(node: Unary, operand: Value, fail: Fail) -> Value:
    """Generate ``-``, ``+``, ``~`` and ``!``."""
    if node.sign == "!":
        constant = None if operand.constant is None else int(not operand.constant)
        return Value(f"((s32)!({operand.code}))", INT, constant)
    kind = promote(_number(node.of, operand, fail, repr(node.sign)))
    if operand.constant is not None:
        result = {"-": -operand.constant, "+": operand.constant, "~": ~operand.constant}[node.sign]
        return convert(number(result, kind), kind)
    if node.sign == "+":
        return convert(operand, kind)
    unsigned = IntType(kind.size, False).c
    return Value(f"(({kind.c})({node.sign}({unsigned})({operand.code})))", kind)


def binary(node: Binary, left: Value, right: Value, fail: Fail, *, check_signs: bool = True) -> Value:
    """Generate the binary operators except ``&&`` and ``||``. ``check_signs``: a comparison that is always or
    never true, as the value has no sign, is an error."""
    pointers = isinstance(left.type, PointerType), isinstance(right.type, PointerType)
    if any(pointers):
        return _addresses(node, left, right, fail)
    a = _number(node.left, left, fail, repr(node.sign))
    b = _number(node.right, right, fail, repr(node.sign))
    if node.sign in ("<<", ">>"):
        return _shift(node, left, right, promote(a))
    kind = common(a, b)
    if node.sign in COMPARISONS and check_signs:
        _check_signs(node, left, right, kind, fail)
    x, y = convert(left, kind), convert(right, kind)
    if node.sign in COMPARISONS:
        constant = None
        if x.constant is not None and y.constant is not None:
            constant = int(_COMPARE[node.sign](x.constant, y.constant))
        return Value(f"((s32)({x.code} {node.sign} {y.code}))", INT, constant)
    if node.sign in ("/", "%"):
        if right.constant == 0:
            raise fail(node.right, "division by 0")
        name = ("divide" if node.sign == "/" else "modulo") + ("_signed" if kind.signed else "")
        return Value(f"(({kind.c})pt_spec_{name}({x.code}, {y.code}, &bad))", kind)
    assert node.sign in _WRAPPED
    unsigned = IntType(kind.size, False).c
    if left.constant is not None and right.constant is not None:
        constant = {
            "+": left.constant + right.constant,
            "-": left.constant - right.constant,
            "*": left.constant * right.constant,
            "&": left.constant & right.constant,
            "|": left.constant | right.constant,
            "^": left.constant ^ right.constant,
        }[node.sign]
        return convert(number(constant, kind), kind)
    return Value(f"(({kind.c})(({unsigned}){x.code} {node.sign} ({unsigned}){y.code}))", kind)


def logical(sign: str, left: Value, right: Value) -> Value:
    """Generate ``&&`` and ``||``: the right operand is evaluated only if it matters."""
    constant = None
    if left.constant is not None and right.constant is not None:
        both = left.constant and right.constant if sign == "&&" else left.constant or right.constant
        constant = int(bool(both))
    return Value(f"((s32)(({left.code}) {sign} ({right.code})))", INT, constant)


def _shift(node: Binary, left: Value, right: Value, kind: IntType) -> Value:
    bits = 8 * kind.size - 1
    operand = kind if node.sign == ">>" else IntType(kind.size, False)
    code = f"({operand.c})({left.code}) {node.sign} ((u32)({right.code}) & {bits})"
    if left.constant is not None and right.constant is not None and node.sign == "<<":
        return convert(number(left.constant << (right.constant & bits), kind), kind)
    return Value(f"(({kind.c})({code}))", kind)


def _check_signs(node: Binary, left: Value, right: Value, kind: IntType, fail: Fail) -> None:
    """Check that a value compared with a negative number is signed, else the result would be constant."""
    for operand, value, other in ((node.left, left, right), (node.right, right, left)):
        negative = other.constant is not None and other.constant < 0
        is_constant = other.constant == 0 and value is left and node.sign in ("<", ">=")
        assert isinstance(value.type, IntType)
        if (negative and not (kind.signed and promote(value.type).signed)) or (
            is_constant and not kind.signed
        ):
            if value.constant is not None:
                continue
            raise fail(
                operand,
                f"this has no sign ({value.type.text}), and is never below 0",
                hint="(int) before it, or (long), says how to read it" if value.type.raw else "",
            )


def _addresses(node: Binary, left: Value, right: Value, fail: Fail) -> Value:
    if node.sign in COMPARISONS:
        for operand, value in ((node.left, left), (node.right, right)):
            if isinstance(value.type, IntType) and not (value.type.raw or value.constant is not None):
                raise fail(operand, f"an address is compared with a number ({value.type.text})")
        x, y = convert(left, U64), convert(right, U64)
        return Value(f"((s32)({x.code} {node.sign} {y.code}))", INT)
    if node.sign not in ("+", "-") or not isinstance(left.type, PointerType):
        raise fail(node, f"{node.sign!r} makes no sense of an address", hint="(u64) makes a number of it")
    size = size_of(left.type.to)
    if not size:
        raise fail(node.left, f"how large a {left.type.to.text} is, is not known")
    if isinstance(right.type, PointerType):
        if node.sign != "-":
            raise fail(node, "two addresses cannot be added")
        return Value(f"((s64)({left.code} - {right.code}) / {size})", S64)
    step = convert(right, S64)
    return Value(f"((u64)({left.code} {node.sign} (u64)({step.code} * {size})))", left.type)
