"""The machine code of programs' functions: where their calls end, and what can be probed.

A call is seen to end by probes on the instructions that return, since the kernel's own return probe replaces
return addresses, which breaks Go's moving stacks and C++'s exceptions. capstone decodes; it is imported when
the first function is analyzed.

Files are anybody's: what is read of them is bounded in bytes, instructions and nesting, and each refusal is a
PytracerError. Keep a ProgramFile open over several calls: what is learned of it is kept with it.

See "Machine code" in docs/internals.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytracer.errors import UnreadableCodeError, UsageError
from pytracer.spec import FunctionCode, ProbeSite
from pytracer.symbols.code import analysis, flow, golang, instructions, uprobe_limits
from pytracer.symbols.code import code_file as images
from pytracer.symbols.code.code_file import ProgramImage
from pytracer.symbols.code.instructions import PADDING
from pytracer.symbols.code.resolve import Definition, Libraries, Resolver
from pytracer.symbols.program_files import ProgramFile

__all__ = [
    "Definition",
    "Libraries",
    "Resolver",
    "analyze",
    "check_boundary",
    "check_place",
    "entry",
    "entry_behind_landing",
    "is_go",
    "unprobeable",
    "unresolved",
]


def unresolved(file: ProgramFile, symbol: str) -> Sequence[Definition]:  # noqa: ARG001 - see Resolver
    """Resolve nothing: a :class:`Resolver` for tests, and for files that are not run."""
    return ()


def analyze(file: ProgramFile, site: ProbeSite, *, resolve: Resolver = unresolved) -> FunctionCode:
    """Find where the calls of a function end.

    Args:
        file: the open file that the function is in.
        site: its first instruction, by ``offset``.
        resolve: finds functions of other files that it jumps to, as :class:`Libraries` does.

    Returns:
        Its entry and exits; each exit's site has the file, holder and identity to attach by. Where it jumps
        to code that is not found or not clear, that jump is an INDIRECT exit.

    Raises:
        UnreadableCodeError: the code does not tell with certainty; the message says why, and where.
        UsageError: the file is broken, or has no code there.
    """
    with file.reading():
        image = images.open_image(file)
        return analysis.Analysis(image, image.address_of(site.offset), resolve).run()


def entry(file: ProgramFile, site: ProbeSite) -> int:
    """Find the offset at which calls of a function are counted, without looking for where they end.

    It is that of its first instruction; in Go behind the stack check; one instruction later where the kernel
    does not probe that one and nothing but a call leads there, or where that one is an endbr and the next a
    push.

    Raises:
        UnreadableCodeError: the kernel does not probe it, or the stack check is of an unknown form.
        UsageError: the file is broken, or has no code there.
    """
    with file.reading():
        image = images.open_image(file)
        if image.machine not in instructions.MACHINES:
            return site.offset
        start = analysis.function_start(image, image.address_of(site.offset))
        return image.offset_of(analysis.entry(image, start))


def entry_behind_landing(file: ProgramFile, site: ProbeSite) -> int:
    """Find the offset at which calls of a function that is not Go's are counted, by its first bytes alone.

    Raises UsageError if the file is broken, or has no code there.
    """
    with file.reading():
        image = images.open_image(file)
        if image.machine not in instructions.MACHINES:
            return site.offset
        address = image.address_of(site.offset)
        return site.offset + uprobe_limits.behind_landing(image, address) - address


def is_go(file: ProgramFile, site: ProbeSite) -> bool:
    """Return whether the Go compiler made the function at a site. Raises UsageError if the file is broken."""
    with file.reading():
        image = images.open_image(file)
        return golang.is_go(image, image.address_of(site.offset))


def check_boundary(file: ProgramFile, function_offset: int, offset: int) -> None:
    """Raise UsageError if no instruction of the function at ``function_offset`` begins at ``offset``.

    Both count from the start of the file. The message names the instruction that ``offset`` lies in. Where no
    function is known at ``function_offset``, and on machines other than x86, nothing is checked.
    """
    with file.reading():
        image = images.open_image(file)
        if image.machine not in instructions.MACHINES:
            return
        start = image.address_of(function_offset)
        probe_address = start + offset - function_offset
        begin, end = image.extent(start)
        if not begin:
            return
        code = _decode_instructions(image, start, end)
        if probe_address in code:
            return
        name = image.symbols.name(start) or f"+{function_offset:#x}"
        for address in range(
            probe_address - 1, max(probe_address - uprobe_limits.INSTRUCTION_LIMIT, start) - 1, -1
        ):
            if address in code and probe_address < address + code[address][0]:
                size, mnemonic, operands = code[address]
                text = f"{mnemonic} {operands}".rstrip()
                raise UsageError(
                    f"{name}+{probe_address - start:#x} is within an instruction: {text}",
                    hint=f"instructions begin at +{address - start:#x} and +{address - start + size:#x}",
                )
        if begin <= probe_address < end:
            raise UsageError(f"{name}+{probe_address - start:#x} is no instruction that the function runs")
        raise UsageError(f"Offset outside the function bounds ('{name}' size is {end - begin})")


def check_offset(file: ProgramFile, offset: int) -> None:
    """Raise UsageError if there is data at ``offset``, or the middle of an instruction of a known function.

    Outside of functions with a symbol or call frame information nothing tells instructions apart.
    """
    with file.reading():
        image = images.open_image(file)
        address = image.address_of(offset)
        if not image.is_code(address):
            raise UsageError(f"{file.name} has data at offset {offset:#x}, no code")
        begin, _ = image.extent(address)
    if begin:
        check_boundary(file, image.offset_of(begin), offset)


def unprobeable(file: ProgramFile, offset: int) -> str:
    """Explain why the kernel refuses a uprobe on the instruction at ``offset``; "" if it does not.

    Raises UsageError where the file is broken, or has no code there.
    """
    with file.reading():
        image = images.open_image(file)
        return (
            uprobe_limits.unprobeable(image, image.address_of(offset))
            if image.machine in instructions.MACHINES
            else ""
        )


def _decode_instructions(image: ProgramImage, start: int, end: int) -> dict[int, instructions.Instruction]:
    """Return the instructions of a function by address: those that run, and others between them except
    padding."""
    decoded = instructions.decode(image, image.read(start, min(end - start, flow.CODE_LIMIT)), start)
    try:
        followed = flow.follow(image, start).reached
    except UnreadableCodeError:
        return decoded
    busy = [
        (instruction_address, instruction_address + size)
        for instruction_address, (size, _, _) in followed.items()
    ]
    sizes, address = dict(followed), 0
    for instruction_address, instruction in decoded.items():
        while address < len(busy) and busy[address][1] <= instruction_address:
            address += 1
        if address < len(busy) and instruction_address + instruction[0] > busy[address][0]:
            continue
        if instruction[1] not in PADDING:
            sizes.setdefault(instruction_address, instruction)
    return sizes
