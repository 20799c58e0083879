"""The instructions on which the kernel places no uprobe (x86: arch/x86/kernel/uprobes.c).

The kernel single-steps a copy of the instruction elsewhere, and accepts only instructions that it knows to
behave the same there. Its tables are indexed by the opcode alone; it looks up the opcode of a VEX or EVEX
instruction in the table for one byte, so that vpxor (0xef, as ``out``) is refused. Tried on Linux 6.18,
each opcode.
"""

from __future__ import annotations

from pytracer.symbols.code import instructions, registers
from pytracer.symbols.code.code_file import X86_64, ProgramImage
from pytracer.symbols.code.instructions import Instruction

INSTRUCTION_LIMIT = 15  # bytes
_PREFIXES = frozenset((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3))
_SEGMENTS = frozenset((0x26, 0x2E, 0x36, 0x3E))
_REFUSED_32 = bytes.fromhex("07 17 1f 6c6d6e6f cccdcecf e4e5e6e7 ecedeeef f1 f4 fafb")
_REFUSED_64 = _REFUSED_32 + bytes.fromhex("06 0e 16 1e 27 2f 37 3f 606162 82 9a d4d5d6 ea")
_ENDBRS = (bytes.fromhex("f30f1efa"), bytes.fromhex("f30f1efb"))  # endbr64 and endbr32
_PUSHES = frozenset(bytes([code]) for code in range(0x50, 0x58))
_DIRECT = frozenset((*range(0x70, 0x80), 0xE8, 0xE9, 0xEB))  # jumps and calls, which the kernel emulates
_DIRECT_CODES = frozenset(bytes([code]) for code in _DIRECT)
_NEAR_BRANCHES = frozenset(bytes([code]) for code in range(0x80, 0x90))  # behind 0x0f
_ARGUMENTS = frozenset(("di", "si", "dx", "cx", "r8", "r9"))  # registers that arguments are passed in


def refusal(raw: bytes, *, is_64: bool) -> str:
    """Explain why the kernel refuses the instruction that ``raw`` begins with; "" if it does not."""
    offset, is_64_bit = 0, False
    while offset < len(raw) and raw[offset] in _PREFIXES:
        if raw[offset] == 0xF0:
            return "the kernel does not probe a lock prefix"
        if raw[offset] in _SEGMENTS:
            return "the kernel does not probe the prefix of a segment"
        is_64_bit = is_64_bit or raw[offset] == 0x66
        offset += 1
    if is_64 and raw[offset : offset + 1] and raw[offset] & 0xF0 == 0x40:  # REX
        offset += 1
    remaining = raw[offset:].ljust(6, b"\0")
    code, refused_opcodes = remaining[0], _REFUSED_64 if is_64 else _REFUSED_32
    if code in (0xC4, 0xC5, 0x62) and (is_64 or remaining[1] >= 0xC0):
        code = remaining[{0xC5: 2, 0xC4: 3, 0x62: 4}[code]]
        is_64_bit = False
    elif code == 0x0F:
        code, refused_opcodes = 0, b""
        is_64_bit = is_64_bit and 0x80 <= remaining[1] < 0x90
        return "the kernel does not probe jumps with an operand of 16 bits" if is_64_bit else ""
    elif code == 0x8E and remaining[1] >> 3 & 7 == 2:
        return "the kernel does not probe what loads ss"
    elif is_64_bit and code in _DIRECT:
        return "the kernel does not probe jumps with an operand of 16 bits"
    return "the kernel does not probe such" if code in refused_opcodes else ""


def unprobeable(image: ProgramImage, address: int) -> str:
    """Explain why the kernel refuses the instruction at an address; "" if it does not."""
    raw = image.read(address, INSTRUCTION_LIMIT)
    reason = refusal(raw, is_64=image.machine == X86_64)
    return f"{instructions.text(image, raw)}: {reason}" if reason else ""


def is_emulated(raw: bytes) -> bool:
    """Return whether the kernel emulates the 64-bit instruction that ``raw`` begins with, where it
    single-steps others: pushes, nops, direct jumps and calls."""
    if raw[:1] == b"\x41":
        return raw[1:2] in _PUSHES
    is_direct = raw[:1] in _DIRECT_CODES or (raw[:1] == b"\x0f" and raw[1:2] in _NEAR_BRANCHES)
    return is_direct or raw[:1] in _PUSHES or raw[:1] == b"\x90"


def behind_landing(image: ProgramImage, address: int) -> int:
    """Return the address of the push behind an endbr at ``address``, else ``address`` itself.

    The kernel single-steps an endbr, which takes a second exception, and emulates a push (Linux 4.18,
    e7ed9d9bd0bb). Whoever calls the function passes both, with the same registers and stack.
    """
    raw = image.read(address, len(_ENDBRS[0]) + 2)
    if not raw.startswith(_ENDBRS):
        return address
    second = raw[len(_ENDBRS[0]) :]
    is_long = image.machine == X86_64 and second[:1] == b"\x41"  # push of r8 to r15
    return address + len(_ENDBRS[0]) if second[is_long : is_long + 1] in _PUSHES else address


def behind(image: ProgramImage, address: int, code: dict[int, Instruction]) -> int:
    """Return the second instruction of a function, if a probe sees the same calls and arguments there; else
    0.

    ``code`` is all of the function. No jump may lead to the second instruction, nor to the first, which
    would run it again; and the first may change neither the stack nor registers that arguments are in.
    """
    size, mnemonic, operands = code[address]
    second = address + size
    writes_both = mnemonic in ("xadd", "xchg")
    registers_written = {
        registers.family(part)
        for part in operands.split(", ")[: 2 if writes_both else 1]
        if registers.is_one(part)
    }
    if instructions.kind(mnemonic) or mnemonic.startswith(("push", "pop", "cmpxchg8b", "cmpxchg16b")):
        return 0
    if registers_written & _ARGUMENTS or "sp" in operands.partition(",")[0]:
        return 0
    if is_jump_target(code, address) or is_jump_target(code, second):
        return 0
    return second if second in code and not unprobeable(image, second) else 0


def is_jump_target(code: dict[int, Instruction], address: int) -> bool:
    """Return whether a jump of this code leads to an address."""
    return any(
        instructions.kind(name) in (instructions.JUMP, instructions.BRANCH)
        and instructions.target(operands) == address
        for _, name, operands in code.values()
    )
