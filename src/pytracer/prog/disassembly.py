"""Disassemble BPF instructions, in the notation of the verifier and bpftool.

Reads both the kernel's translated instructions (after the verifier, with its rewrites) and those of a
compiler: they differ in how helpers and maps are named, see :class:`ReferenceNames`.

An instruction is a ``struct bpf_insn`` (include/uapi/linux/bpf.h; RFC 9669)::

    u8 code   u4 dst   u4 src   s16 off   s32 imm
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Mapping

from pytracer.arrays import load, np
from pytracer.bpf.asm.assembler import ALU, ALU64, CONDITIONS, JMP, JMP32, LD, LDX, OPERATIONS, ST, X
from pytracer.record import record
from pytracer.symbols.kernel import KernelSymbols

_TYPES = {0x00: "32", 0x08: "16", 0x10: "8", 0x18: "64"}
_ALU = {code: sign for sign, code in OPERATIONS.items()}
_CONDITIONS = {code: sign for sign, code in CONDITIONS.items()}
_LITTLE = sys.byteorder == "little"

# Modes of loads and stores.
_IMM, _ABS, _IND, _MEM, _MEMSX, _ATOMIC, _NOSPEC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0, 0xC0
_FETCH, _EXCHANGE, _COMPARE, _ACQUIRE, _RELEASE = 0x01, 0xE1, 0xF1, 0x100, 0x110
_ATOMICS = {0x00: ("add", "+"), 0x40: ("or", "|"), 0x50: ("and", "&"), 0xA0: ("xor", "^")}
# Operations of arithmetic and jumps that the tables of the assembler do not hold.
_DIVIDE, _MODULO, _NEGATE, _MOVE, _SWAP = 0x30, 0x90, 0x80, 0xB0, 0xD0
_ALWAYS, _CALL, _EXIT, _MAYBE = 0x00, 0x80, 0x90, 0xE0
# The source register of a 64-bit constant is its kind.
_MAP, _MAP_VALUE, _, _FUNCTION = range(1, 5)
_OWN, _KERNEL = 1, 2  # the source register of a call
_PER_CPU, _ADDRESS_SPACE = -1, 1  # offsets of a move (Linux 6.10: 7bdbf7446305; 6.9: 6082b6c328b5)


class ReferenceFormatter:
    """Names for maps and functions in instructions. This base class returns numbers."""

    def map(self, number: int) -> str:
        """Return the name of a map by its id, or by its descriptor if the code is not loaded."""
        return f"id:{number}"

    def helper(self, number: int) -> str:
        """Return the name of the helper for a call's ``imm``; "" if it is hidden."""
        return f"helper#{number}" if number else ""

    def function(self, number: int) -> str:
        """Return the name of a kernel function that is no helper (a kfunc)."""
        return self.helper(number)


class KernelReferenceFormatter(ReferenceFormatter):
    """Formats calls and maps of translated instructions, where a call has the function's distance from
    ``__bpf_call_base``."""

    def __init__(self, maps: Mapping[int, str], symbols: KernelSymbols | None = None) -> None:
        """``maps`` are names by id; other maps are shown by their ids."""
        load()
        self._maps = maps
        self._symbols = symbols or KernelSymbols()

    def map(self, number: int) -> str:
        """See :class:`ReferenceNames`."""
        return self._maps.get(number) or super().map(number)

    def helper(self, number: int) -> str:
        """See :class:`ReferenceNames`."""
        base = self._symbols.address("__bpf_call_base")
        if not base or not number:
            return ""
        return self._symbols.names(np.array([base + number & (1 << 64) - 1], np.uint64))[0]


@record
class BytecodeLine:
    """One instruction: its ``number`` (a 64-bit constant takes two), its bytes, its text, and the number of
    the instruction that it may jump to (None: it does not jump)."""

    number: int
    raw: bytes
    text: str
    target: int | None = None


def listing(code: bytes, names: ReferenceFormatter | None = None) -> Iterator[BytecodeLine]:
    """Yield the instructions in ``code``. Unknown ones are shown as bytes."""
    names = names or ReferenceFormatter()
    index = 0
    while index + 8 <= len(code):
        is_wide = code[index] == LD | _IMM | 0x18
        raw = code[index : index + (16 if is_wide else 8)]
        fields = _Fields(raw)
        text = _format_instruction(fields, names)
        jump = _jump(fields)
        number = index // 8
        line = f"({fields.code:02x}) {text}" if text else f"({fields.code:02x}) unknown: {raw.hex(' ')}"
        yield BytecodeLine(number, raw, line, None if jump is None else number + 1 + jump)
        index += len(raw)


class _Fields:
    """The fields of a ``struct bpf_insn``; ``upper`` is a 64-bit constant's upper half."""

    def __init__(self, raw: bytes) -> None:
        self.code: int
        self.off: int
        self.imm: int
        self.code, registers, self.off, self.imm = struct.unpack_from("=BBhi", raw)
        low, high = registers & 0xF, registers >> 4
        self.dst, self.src = (low, high) if _LITTLE else (high, low)
        self.kind, self.operation, self.mode = self.code & 7, self.code & 0xF0, self.code & 0xE0
        self.upper = struct.unpack_from("=i", raw, 12)[0] if len(raw) == 16 else 0

    @property
    def width(self) -> str:
        """The width of a load or a store in bits."""
        return _TYPES[self.code & 0x18]


def _jump(fields: _Fields) -> int | None:
    """Return the relative offset of a jump in instructions; None if it is not a jump."""
    if fields.kind not in (JMP, JMP32) or fields.operation in (_CALL, _EXIT):
        return None
    if fields.operation == _ALWAYS:
        if fields.code & X:
            return None
        return fields.imm if fields.kind == JMP32 else fields.off
    return fields.off


def _format_instruction(fields: _Fields, names: ReferenceFormatter) -> str:
    if fields.kind in (ALU, ALU64):
        return _format_arithmetic(fields)
    if fields.kind in (JMP, JMP32):
        return _format_branch(fields, names)
    if fields.kind == LD:
        return _format_constant(fields, names)
    if fields.kind == LDX:
        sign = {_MEM: "u", _MEMSX: "s"}.get(fields.mode)
        return f"r{fields.dst} = *({sign}{fields.width} *)(r{fields.src} {fields.off:+d})" if sign else ""
    if fields.kind == ST:
        if fields.mode == _NOSPEC:
            return "nospec"
        return (
            f"*(u{fields.width} *)(r{fields.dst} {fields.off:+d}) = {fields.imm}"
            if fields.mode == _MEM
            else ""
        )
    if fields.mode == _ATOMIC:
        return _format_atomic(fields)
    return (
        f"*(u{fields.width} *)(r{fields.dst} {fields.off:+d}) = r{fields.src}" if fields.mode == _MEM else ""
    )


def _format_arithmetic(fields: _Fields) -> str:
    letter = "r" if fields.kind == ALU64 else "w"
    dst, src = f"{letter}{fields.dst}", f"{letter}{fields.src}"
    if fields.operation == _NEGATE:
        return "" if fields.code & X else f"{dst} = -{dst}"
    if fields.operation == _SWAP:
        order = "bswap" if fields.kind == ALU64 else "be" if fields.code & X else "le"
        return f"r{fields.dst} = {order}{fields.imm} r{fields.dst}"
    sign = _ALU.get(fields.operation)
    if sign is None:
        return ""
    if fields.operation in (_DIVIDE, _MODULO) and fields.off == 1:
        sign = f"s{sign}"
    if not fields.code & X:
        return f"{dst} {sign} {fields.imm}"
    if fields.operation == _MOVE and fields.off:
        if fields.off == _PER_CPU:
            return f"{dst} = &(void __percpu *)({src})"
        if fields.kind == ALU64 and fields.off == _ADDRESS_SPACE:
            return f"{dst} = addr_space_cast({src}, {fields.imm >> 16}, {fields.imm & 0xFFFF})"
        return f"{dst} = (s{fields.off}){src}"
    return f"{dst} {sign} {src}"


def _format_branch(fields: _Fields, names: ReferenceFormatter) -> str:
    if fields.operation == _CALL and fields.kind == JMP:
        return _format_call(fields, names)
    if fields.operation == _EXIT and fields.kind == JMP:
        return "exit"
    if fields.operation == _ALWAYS:
        if fields.code & X:
            return f"gotox r{fields.dst}"
        return f"goto pc{fields.off:+d}" if fields.kind == JMP else f"gotol pc{fields.imm:+d}"
    if fields.operation == _MAYBE and fields.kind == JMP:
        return f"may_goto pc{fields.off:+d}"
    sign = _CONDITIONS.get(fields.operation)
    if sign is None:
        return ""
    letter = "r" if fields.kind == JMP else "w"
    right = f"{letter}{fields.src}" if fields.code & X else f"{fields.imm & 0xFFFFFFFF:#x}"
    return f"if {letter}{fields.dst} {sign} {right} goto pc{fields.off:+d}"


def _format_call(fields: _Fields, names: ReferenceFormatter) -> str:
    if fields.src == _OWN:  # once there is native code, how far it is stands in the offset
        return f"call pc{fields.off or fields.imm:+d}"
    name = names.function(fields.imm) if fields.src == _KERNEL else names.helper(fields.imm)
    return f"call {name or 'a function whose name is hidden'}"


def _format_constant(fields: _Fields, names: ReferenceFormatter) -> str:
    if fields.mode == _ABS:
        return f"r0 = *(u{fields.width} *)skb[{fields.imm}]"
    if fields.mode == _IND:
        return f"r0 = *(u{fields.width} *)skb[r{fields.src} + {fields.imm}]"
    if fields.code != LD | _IMM | 0x18:
        return ""
    if fields.src == _MAP:
        return f"r{fields.dst} = map[{names.map(fields.imm)}]"
    if fields.src == _MAP_VALUE:
        return f"r{fields.dst} = map[{names.map(fields.imm)}][0]+{fields.upper & 0xFFFFFFFF}"
    if fields.src == _FUNCTION:
        return f"r{fields.dst} = subprog[{fields.imm:+d}]"
    return f"r{fields.dst} = {(fields.upper & 0xFFFFFFFF) << 32 | fields.imm & 0xFFFFFFFF:#x}"


def _format_atomic(fields: _Fields) -> str:
    operand = f"(u{fields.width} *)(r{fields.dst} {fields.off:+d})"
    suffix = "64" if fields.width == "64" else ""
    if fields.imm == _EXCHANGE:
        return f"r{fields.src} = atomic{suffix}_xchg({operand}, r{fields.src})"
    if fields.imm == _COMPARE:
        return f"r0 = atomic{suffix}_cmpxchg({operand}, r0, r{fields.src})"
    if fields.imm == _ACQUIRE:
        return f"r{fields.dst} = load_acquire((u{fields.width} *)(r{fields.src} {fields.off:+d}))"
    if fields.imm == _RELEASE:
        return f"store_release({operand}, r{fields.src})"
    operation = _ATOMICS.get(fields.imm & ~_FETCH)
    if operation is None:
        return ""
    if fields.imm & _FETCH:
        return f"r{fields.src} = atomic{suffix}_fetch_{operation[0]}({operand}, r{fields.src})"
    return f"lock *{operand} {operation[1]}= r{fields.src}"
