"""Find the registers in which C passes arguments, by the calling convention, where there is no debug
information.

x86-64: System V psABI, 3.2.3; arm64: AAPCS64, 6.8.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytracer.kernel.facts import NOT_IN_REGISTER
from pytracer.lang.types import ArrayType, IntType, PointerType, StructType, Type, VoidType
from pytracer.plan.btf_types import NoTypes, Prototype

REGISTERS = {"x86_64": 6, "aarch64": 8}
"""The number of registers that pass integers and addresses."""
_FLOATING = 8  # registers for floating-point numbers, of both
_FLOATS = {"float": 4, "double": 8}  # bytes
_IN_MEMORY = {"x86_64": ("long double",), "aarch64": ()}
_WORD, _SMALL = 8, 16  # bytes; what is larger than _SMALL is passed in memory

Needs = tuple[int, int]  # registers for numbers and addresses, and for floating-point numbers


def first_registers(
    prototype: Prototype, locations: Sequence[int | None], types: NoTypes, architecture: str
) -> list[int]:
    """Return the first register of each argument, from 0; NOT_IN_REGISTER if it is in none, or unknown.

    ``locations`` is from debug information: a register, NOT_IN_REGISTER, or None for the calling
    convention's. Once it contradicts the convention, the arguments behind are unknown.
    """
    register_count = REGISTERS.get(architecture, 0)
    start = _count_result_registers(prototype.returned, types, architecture)
    is_known, numbers, floats = start is not None, start or 0, 0
    registers = list[int]()
    for (_, kind), location in zip(prototype.arguments, locations, strict=True):
        needs = _count_registers(kind, types, architecture)
        register = NOT_IN_REGISTER
        if needs is not None:
            fits = numbers + needs[0] <= register_count and floats + needs[1] <= _FLOATING
            if fits:
                register = numbers if needs[0] else NOT_IN_REGISTER
                numbers, floats = numbers + needs[0], floats + needs[1]
            elif architecture == "aarch64" and needs[0]:
                numbers = register_count  # what comes behind is in memory, too
        registers.append(location if location is not None else register if is_known else NOT_IN_REGISTER)
        is_scalar = isinstance(kind, (IntType, PointerType))
        is_known = (
            is_known
            and needs is not None
            and location in (None, register, *(() if is_scalar else (NOT_IN_REGISTER,)))
        )
    return registers


def _count_result_registers(returned: Type, types: NoTypes, architecture: str) -> int | None:
    """Return the number of registers for the address of a large result; None if it is unknown."""
    if (
        not isinstance(returned, StructType) or architecture == "aarch64"
    ):  # x8 there, which passes nothing else
        return 0
    if returned.size > _SMALL:
        return 1
    return None if _count_registers(returned, types, architecture) is None else 0


def _count_registers(kind: Type, types: NoTypes, architecture: str) -> Needs | None:
    """Return the registers that an argument needs, if enough are free; None if it is unknown."""
    if isinstance(kind, (IntType, PointerType)):
        return 1, 0
    if isinstance(kind, VoidType):
        in_memory = kind.text in _IN_MEMORY.get(architecture, ())
        return (0, 0) if in_memory else (0, 1) if kind.text in _FLOATS or kind.text == "long double" else None
    if not isinstance(kind, StructType) or not kind.size:
        return None
    if kind.size > _SMALL:
        return (1, 0) if architecture == "aarch64" else (0, 0)
    parts = list(_iter_scalars(kind, 0, types))
    if None in parts or not parts:
        return None
    present_parts = [part for part in parts if part is not None]
    if any(offset % size for offset, size, _ in present_parts):  # packed
        return None
    if architecture == "aarch64":
        shapes = {(size, is_float) for _, size, is_float in present_parts}
        if len(shapes) == 1 and next(iter(shapes))[1]:
            return 0, len(present_parts)
        return -(-kind.size // _WORD), 0
    words = range(-(-kind.size // _WORD))
    numbers = {offset // _WORD for offset, _, is_float in present_parts if not is_float}
    floats = {offset // _WORD for offset, _, is_float in present_parts} - numbers
    return sum(word in numbers for word in words), sum(word in floats for word in words)


def _iter_scalars(kind: Type, offset: int, types: NoTypes) -> Iterator[tuple[int, int, bool] | None]:
    """Yield (offset, bytes, is floating-point) of each scalar in a small struct; None for an unknown part."""
    if isinstance(kind, IntType):
        yield offset, kind.size, False
    elif isinstance(kind, PointerType):
        yield offset, _WORD, False
    elif isinstance(kind, VoidType) and kind.text in _FLOATS:
        yield offset, _FLOATS[kind.text], True
    elif isinstance(kind, ArrayType) and 0 < kind.length <= _SMALL:
        first = list(_iter_scalars(kind.of, 0, types))
        size = _size(kind.of)
        for number in range(kind.length):
            for part in first:
                yield None if part is None or not size else (offset + number * size + part[0], *part[1:])
    elif isinstance(kind, StructType) and 0 < kind.size <= _SMALL:
        for field in types.members(kind).values():
            if field.bits:
                yield offset + field.offset // 8, 1, False
            else:
                yield from _iter_scalars(field.type, offset + field.offset // 8, types)
    else:
        yield None


def _size(kind: Type) -> int:
    if isinstance(kind, (IntType, StructType)):
        return kind.size
    if isinstance(kind, ArrayType):
        return kind.length * _size(kind.of)
    return _WORD if isinstance(kind, PointerType) else _FLOATS.get(kind.text, 0)
