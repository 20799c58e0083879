"""The machine code of programs' functions: where their calls end, and what can be probed.

A call is seen to end by probes on the instructions that return, since the kernel's own return probe replaces
return addresses, which breaks Go's moving stacks and C++'s exceptions. capstone decodes; it is imported when
the first function is analyzed.

Files are anybody's: what is read of them is bounded in bytes, instructions and nesting, and each refusal is a
PytracerError. Keep a ProgramFile open over several calls: what is learned of it is kept with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pytracer.errors import UnreadableCodeError, UsageError
from pytracer.record import record
from pytracer.spec import ExitKind, FunctionCode, FunctionExit, Spot
from pytracer.symbols import elf
from pytracer.symbols.code import decode
from pytracer.symbols.files import ProgramFile

__all__ = ["Definition", "Resolver", "analyze", "check_boundary", "unprobeable", "unresolved"]


@record
class Definition:
    """Where a function is defined that another file calls by name. ``is_ifunc``: the code there is not the
    function's, but chooses one when a program starts. A Resolver keeps the ``file`` open."""

    file: ProgramFile
    offset: int
    is_ifunc: bool = False


class Resolver(Protocol):
    """Finds what the dynamic linker would."""

    def __call__(self, file: ProgramFile, symbol: str) -> Sequence[Definition]:
        """Find the functions that a call of ``symbol`` in ``file`` may reach; none where that is unknown."""
        ...


def unresolved(file: ProgramFile, symbol: str) -> Sequence[Definition]:  # noqa: ARG001 - see Resolver
    """Know no other file: a :class:`Resolver` for tests, and for files that are not run."""
    return ()


def analyze(file: ProgramFile, spot: Spot, *, resolve: Resolver = unresolved) -> FunctionCode:  # noqa: ARG001
    """Find where the calls of a function end.

    Args:
        file: the open file that the function is in.
        spot: its first instruction, by ``offset``; the ``name`` is for messages.
        resolve: finds functions of other files that it jumps to.

    Returns:
        Its entry and exits; each exit's spot has the file, holder and identity to attach by.

    Raises:
        UnreadableCodeError: the code does not tell with certainty; the message says why, and where.
        UsageError: the file is broken, or has no code there.
    """
    start, end = _range(file, spot.offset)
    exits = list[FunctionExit]()
    for one in decode.instructions(file, start, end):
        if one.mnemonic.split()[-1] == "ret":
            place = Spot(
                f"{spot.name}+{one.offset - start:#x}",
                one.offset,
                file=file.name,
                holder=file.holder,
                identity=file.identity,
            )
            exits.append(FunctionExit(ExitKind.RETURN, place))
        elif one.mnemonic == "jmp" and not (start <= (one.target or 0) < end):
            raise UnreadableCodeError(f"{spot.name} jumps elsewhere: {one.text} at {one.offset:#x}")
    return FunctionCode(start, tuple(exits))


def check_boundary(file: ProgramFile, function_offset: int, offset: int) -> None:
    """Raise UsageError if no instruction of the function at ``function_offset`` begins at ``offset``.

    Both count from the start of the file. The message names the instruction that ``offset`` lies in.
    """
    start, end = _range(file, function_offset)
    for one in decode.instructions(file, start, end):
        if one.offset < offset < one.offset + one.size:
            raise UsageError(f"{file.name}: {offset:#x} is within an instruction: {one.text}")


def unprobeable(file: ProgramFile, offset: int) -> str:  # noqa: ARG001 - comes
    """Tell why the kernel refuses a uprobe on the instruction at ``offset``; "" if it does not."""
    return ""


def _range(file: ProgramFile, offset: int) -> tuple[int, int]:
    """Where a function begins and ends in the file, by its symbol."""
    with file.reading() as tables_:
        for symbols, strings, _ in elf.symbol_tables(tables_):
            for symbol in symbols[elf.defined_functions(symbols, strings)]:
                if tables_.offset_of(int(symbol["value"])) == offset and int(symbol["size"]):
                    return offset, offset + int(symbol["size"])
    raise UnreadableCodeError(f"nothing says where the function at {offset:#x} of {file.name} ends")
