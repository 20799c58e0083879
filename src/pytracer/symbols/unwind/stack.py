"""User stacks as the kernel stores them, and why a walk ended."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from pytracer.arrays import Array


class WalkEnd(IntEnum):
    """Why a walk ended: ``enum pt_rule`` of probes_c/include/unwind.h. The first ones are rules of a table
    (:class:`~pytracer.symbols.unwind.table.Rule`)."""

    WHOLE = 0
    """The thread's first function."""
    EXPRESSION = 7
    """The caller's frame is found by an expression that no table has."""
    REGISTER = 8
    """The caller's frame is found by a register that is not walked."""
    NO_ENTRY = 9
    """The code has no call frame information, and no frame pointer leads to a caller."""
    UNMAPPED = 10
    """A return address is in no code that is known of the process."""
    MEMORY = 11
    """The stack cannot be read, or does not grow."""
    DEPTH = 12
    """The stack has more frames than are kept."""
    FALLBACK = 13
    """The kernel walked by frame pointers."""


class Stack(NamedTuple):
    """The addresses of a stack, innermost first, uint64 of shape (n,), and why it has no more."""

    frames: Array
    end: WalkEnd
