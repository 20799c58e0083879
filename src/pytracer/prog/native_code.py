"""Disassemble the JIT's native code by capstone; code of unsupported machines stays bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pytracer.bpf.obj_info import ProgramInfo
from pytracer.record import record

_ROW = 16  # bytes in a row of what cannot be read


@record
class NativeInstruction:
    """One instruction, at ``address``; ``text`` is "" if it cannot be disassembled. ``target`` is the address
    that it jumps to or calls, if that is in its operand."""

    address: int
    raw: bytes
    text: str
    target: int | None = None


def disassemble(
    code: bytes,
    address: int,
    *,
    machine: str = "",
    name_of: Callable[[int], str] | None = None,
) -> tuple[list[NativeInstruction], str]:
    """Disassemble ``code`` at ``address``. Returns the instructions, and a hint if there is no disassembler.

    ``machine`` is as of ``uname -m`` (default: this one); ``name_of`` names addresses outside of the code.
    All bytes are shown: those that are no instruction become ``.byte``.
    """
    reader, hint = _make_disassembler(machine or os.uname().machine)
    if reader is None:
        rows = range(0, len(code), _ROW)
        return [
            NativeInstruction(address + offset, code[offset : offset + _ROW], "") for offset in rows
        ], hint
    inside = range(address, address + len(code))
    native = []
    for instruction in reader.disasm(code, address):
        text = f"{instruction.mnemonic} {instruction.op_str}".strip()
        target = _find_target(instruction)
        if target is not None and target not in inside and name_of is not None:
            text += f" <{name_of(target)}>"
        native.append(NativeInstruction(instruction.address, bytes(instruction.bytes), text, target))
    return native, ""


def disassemble_program(
    info: ProgramInfo, *, name_of: Callable[[int], str] | None = None
) -> tuple[list[NativeInstruction], str]:
    """Disassemble all functions of a program; see ``disassemble``. Each has its own address: they need not be
    contiguous."""
    if not any(function.address for function in info.functions):  # the kernel hides it
        return disassemble(info.jited, 0, name_of=name_of)
    instructions, hint, insn = list[NativeInstruction](), "", 0
    for function in info.functions:
        code, hint = disassemble(info.jited[insn : insn + function.size], function.address, name_of=name_of)
        instructions += code
        insn += function.size
    return instructions, hint


def _make_disassembler(machine: str) -> tuple[Any, str]:
    import capstone

    modes = {
        "x86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
        "aarch64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
    }
    if machine not in modes:
        return None, f"native code of {machine} is shown as bytes: pytracer reads that of x86-64 and arm64"
    reader = capstone.Cs(*modes[machine])
    reader.skipdata = True
    return reader, ""


def _find_target(instruction: Any) -> int | None:
    """Return the target of a jump or a call: its last operand, if that is a number."""
    if not instruction.mnemonic.startswith(("j", "call", "b", "cb", "tb")):
        return None
    last = instruction.op_str.rpartition(",")[2].strip().removeprefix("#")
    try:
        return int(last, 16) if last.startswith("0x") else None
    except ValueError:
        return None
