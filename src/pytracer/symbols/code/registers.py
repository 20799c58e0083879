"""The general registers of x86, and which are part of which."""

from __future__ import annotations

import re

PATTERN = r"[re]?[a-d]x|[re]?[sd]i|[re]?bp|[a-d][lh]|sil|dil|bpl|r\d+[dwb]?"
_ONE = re.compile(PATTERN)
_BYTES = {"sil": "si", "dil": "di", "bpl": "bp"} | {
    f"{name}{part}": f"{name}x" for name in "abcd" for part in "lh"
}


def is_one(operand: str) -> bool:
    """Return whether an operand is a general register (but the stack pointer)."""
    return _ONE.fullmatch(operand) is not None


def family(register: str) -> str:
    """Return the name that a register shares with its parts: ``ax`` for ``rax``, ``eax``, ``al``."""
    if register[1].isdigit():
        return register.rstrip("dwb")
    return _BYTES.get(register) or register[-2:]
