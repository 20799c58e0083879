"""The entry and return sites of a program's function, at which its calls are probed.

The analysis of machine code (:mod:`pytracer.symbols.code`) fills these records; plans use them unchanged.
"""

from __future__ import annotations

from enum import Enum

from pytracer.record import record
from pytracer.spec.user_probes import ProbeSite

THREAD_G = -8  # where Go keeps g, from the thread pointer, in programs that the Go linker made


class ExitKind(Enum):
    """The way in which a call ends at a :class:`FunctionExit`."""

    RETURN = "a return instruction of the function itself"
    TAIL_RETURN = "a return instruction of a function that it jumps to"
    INDIRECT = "a jump to an unknown function, at which the call is lost"


@record
class FunctionExit:
    """An instruction that ends calls of a function. Just before it runs, the stack pointer points at the
    return address, as it does at the function's first instruction.

    ``site`` names its own file: a function may jump to one of another library. At a TAIL_RETURN other
    functions return, too: a call of this one ends there only if its stack pointer and return address are the
    same. At an INDIRECT the result is unknown: who returns it was not found.
    """

    kind: ExitKind
    site: ProbeSite


@record
class FunctionCode:
    """The results of analyzing a function's machine code.

    ``entry`` is the file offset at which calls are counted: the first instruction, or in Go the one behind
    the stack check, which runs again after the stack was moved. ``goroutine``: calls belong to goroutines,
    which change threads; then g is ``g_offset`` bytes from the thread pointer (fs base). ``restarts``: the
    function jumps back to its entry, so that a probe there fires again within one call. ``tail_callees``
    are the names of the functions that it jumps to.
    """

    entry: int
    exits: tuple[FunctionExit, ...]
    goroutine: bool = False
    g_offset: int = THREAD_G
    restarts: bool = False
    tail_callees: tuple[str, ...] = ()
