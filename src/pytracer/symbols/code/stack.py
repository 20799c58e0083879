"""Track how an instruction moves the stack pointer, for code without call frame information."""

from __future__ import annotations

import re

from pytracer.record import record
from pytracer.symbols.code.instructions import Instruction

_IMMEDIATE = re.compile(r"[re]sp, (-?(?:0x[0-9a-f]+|\d+))")
_FROM = re.compile(r"[re](sp|bp), \[[re](sp|bp)(?: ([+-]) (0x[0-9a-f]+|\d+))?\]")
_POINTERS = frozenset(("sp", "esp", "rsp"))
_FRAMES = frozenset(("bp", "ebp", "rbp", "bpl"))
_READERS = frozenset(("push", "cmp", "test", "call", "jmp"))


@record
class StackDepth:
    """The number of bytes by which the stack pointer and the frame pointer are below the value of the stack
    pointer at the function's first instruction; None if unknown."""

    stack: int | None
    frame: int | None = None


UNKNOWN = StackDepth(None)


def after(depth: StackDepth, instruction: Instruction, word: int) -> StackDepth:
    """Return the depth behind an instruction that is no jump."""
    _, mnemonic, operands = instruction
    stack, frame = depth.stack, depth.frame
    if mnemonic.startswith("push"):
        return StackDepth(_add(stack, word), frame)
    if mnemonic.startswith("pop") and mnemonic != "popcnt":
        if operands in _POINTERS:
            return StackDepth(None, frame)
        return StackDepth(_add(stack, -word), None if operands in _FRAMES else frame)
    if mnemonic == "leave":
        return StackDepth(_add(frame, -word))
    if mnemonic == "enter":
        return UNKNOWN
    first = operands.partition(",")[0]
    if first not in _POINTERS and first not in _FRAMES and mnemonic != "xchg":
        return depth
    if mnemonic in _READERS:
        return depth
    value = _apply_to_depth(depth, mnemonic, operands)
    if mnemonic == "xchg" and not any(f"{name}" in operands.split(", ") for name in _POINTERS | _FRAMES):
        return depth
    if first in _POINTERS:
        return StackDepth(value, frame)
    return StackDepth(None if mnemonic == "xchg" else stack, value)


def _apply_to_depth(depth: StackDepth, mnemonic: str, operands: str) -> int | None:
    """Return the depth that the first operand holds after an instruction; None if unknown."""
    if mnemonic == "mov":
        source = operands.partition(", ")[2]
        return depth.stack if source in _POINTERS else depth.frame if source in _FRAMES else None
    if mnemonic in ("add", "sub"):
        match = _IMMEDIATE.fullmatch(operands)
        if match is None:
            return None
        number = int(match[1], 0)
        return _add(depth.stack, number if mnemonic == "sub" else -number)
    if mnemonic == "lea":
        match = _FROM.fullmatch(operands)
        if match is None:
            return None
        number = int(match[4] or "0", 0)
        return _add(depth.stack if match[2] == "sp" else depth.frame, number if match[3] == "-" else -number)
    return None


def _add(value: int | None, number: int) -> int | None:
    return None if value is None else value + number
