"""Classify machine instructions, decoded by capstone, by their effects on control flow and stack."""

from __future__ import annotations

import functools
import re
from typing import Any

from pytracer.errors import UnsupportedError
from pytracer.symbols.code.code_file import X86, X86_64, ProgramImage

Instruction = tuple[int, str, str]
"""Its size, mnemonic without prefixes, operands in Intel's syntax."""

MACHINES = (X86, X86_64)
"""Those whose code is read, of EM_*."""

RETURN, JUMP, BRANCH, CALL, STOP, FAR = "return", "jump", "branch", "call", "stop", "far"
_KINDS = {
    **dict.fromkeys(("ret", "retn"), RETURN),
    "jmp": JUMP,
    "call": CALL,
    **dict.fromkeys(("ud0", "ud1", "ud2", "ud2b", "hlt", "int3"), STOP),
    **dict.fromkeys(("retf", "retfq", "ljmp", "iret", "iretd", "iretq", "sysexit", "sysret"), FAR),
    **dict.fromkeys(("loop", "loope", "loopne", "xbegin"), BRANCH),
}
_KINDS |= dict.fromkeys(
    ("ja", "jae", "jb", "jbe", "jc", "jcxz", "je", "jecxz", "jg", "jge", "jl", "jle"), BRANCH
)
_KINDS |= dict.fromkeys(("jne", "jno", "jnp", "jns", "jo", "jp", "jrcxz", "js"), BRANCH)
PADDING = frozenset(("nop", "int3", "ud2"))
_PREFIXES = ("notrack ", "bnd ", "repz ", "rep ", "repne ", "lock ")
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+")


def kind(mnemonic: str) -> str:
    """Classify an instruction by its effect on control flow: a constant above, or "" if it falls through."""
    return _KINDS.get(mnemonic, "")


def target(operands: str) -> int | None:
    """Return the target address of a direct jump or call; None for an indirect one."""
    return int(operands, 0) if _NUMBER.fullmatch(operands) else None


@functools.cache
def _make_disassembler(machine: int) -> Any:
    import capstone

    if machine not in MACHINES:
        raise UnsupportedError("pytracer reads the machine code of x86-64 and i386 alone")
    return capstone.Cs(
        capstone.CS_ARCH_X86, capstone.CS_MODE_64 if machine == X86_64 else capstone.CS_MODE_32
    )


def decode(image: ProgramImage, raw: bytes, address: int) -> dict[int, Instruction]:
    """Decode one instruction behind the other, up to the first that is none; by their addresses.

    Raises UnsupportedError on a machine that is not known.
    """
    decoded = dict[int, Instruction]()
    for position, size, mnemonic, operands in _make_disassembler(image.machine).disasm_lite(raw, address):
        while mnemonic.startswith(_PREFIXES) and " " in mnemonic:
            mnemonic = mnemonic.partition(" ")[2]
        decoded[position] = size, mnemonic, operands
    return decoded


def text(image: ProgramImage, raw: bytes) -> str:
    """Return the first instruction of ``raw`` as text, with its bytes in hexadecimal."""
    for _, size, mnemonic, operands in _make_disassembler(image.machine).disasm_lite(raw, 0, 1):
        return f"{mnemonic} {operands}".strip() + f" ({raw[:size].hex(' ')})"
    return raw[:8].hex(" ")
