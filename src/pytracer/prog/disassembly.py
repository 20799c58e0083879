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
    """Names for translated instructions: a call has the function's distance from ``__bpf_call_base``."""

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
    at = 0
    while at + 8 <= len(code):
        wide = code[at] == LD | _IMM | 0x18
        raw = code[at : at + (16 if wide else 8)]
        one = _Fields(raw)
        text = _text(one, names)
        jump = _jump(one)
        number = at // 8
        shown = f"({one.code:02x}) {text}" if text else f"({one.code:02x}) unknown: {raw.hex(' ')}"
        yield BytecodeLine(number, raw, shown, None if jump is None else number + 1 + jump)
        at += len(raw)


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


def _jump(one: _Fields) -> int | None:
    """Return the relative offset of a jump in instructions; None if it is not a jump."""
    if one.kind not in (JMP, JMP32) or one.operation in (_CALL, _EXIT):
        return None
    if one.operation == _ALWAYS:
        if one.code & X:
            return None
        return one.imm if one.kind == JMP32 else one.off
    return one.off


def _text(one: _Fields, names: ReferenceFormatter) -> str:
    if one.kind in (ALU, ALU64):
        return _arithmetic(one)
    if one.kind in (JMP, JMP32):
        return _branch(one, names)
    if one.kind == LD:
        return _constant(one, names)
    if one.kind == LDX:
        sign = {_MEM: "u", _MEMSX: "s"}.get(one.mode)
        return f"r{one.dst} = *({sign}{one.width} *)(r{one.src} {one.off:+d})" if sign else ""
    if one.kind == ST:
        if one.mode == _NOSPEC:
            return "nospec"
        return f"*(u{one.width} *)(r{one.dst} {one.off:+d}) = {one.imm}" if one.mode == _MEM else ""
    if one.mode == _ATOMIC:
        return _atomic(one)
    return f"*(u{one.width} *)(r{one.dst} {one.off:+d}) = r{one.src}" if one.mode == _MEM else ""


def _arithmetic(one: _Fields) -> str:
    letter = "r" if one.kind == ALU64 else "w"
    dst, src = f"{letter}{one.dst}", f"{letter}{one.src}"
    if one.operation == _NEGATE:
        return "" if one.code & X else f"{dst} = -{dst}"
    if one.operation == _SWAP:
        order = "bswap" if one.kind == ALU64 else "be" if one.code & X else "le"
        return f"r{one.dst} = {order}{one.imm} r{one.dst}"
    sign = _ALU.get(one.operation)
    if sign is None:
        return ""
    if one.operation in (_DIVIDE, _MODULO) and one.off == 1:
        sign = f"s{sign}"
    if not one.code & X:
        return f"{dst} {sign} {one.imm}"
    if one.operation == _MOVE and one.off:
        if one.off == _PER_CPU:
            return f"{dst} = &(void __percpu *)({src})"
        if one.kind == ALU64 and one.off == _ADDRESS_SPACE:
            return f"{dst} = addr_space_cast({src}, {one.imm >> 16}, {one.imm & 0xFFFF})"
        return f"{dst} = (s{one.off}){src}"
    return f"{dst} {sign} {src}"


def _branch(one: _Fields, names: ReferenceFormatter) -> str:
    if one.operation == _CALL and one.kind == JMP:
        return _call(one, names)
    if one.operation == _EXIT and one.kind == JMP:
        return "exit"
    if one.operation == _ALWAYS:
        if one.code & X:
            return f"gotox r{one.dst}"
        return f"goto pc{one.off:+d}" if one.kind == JMP else f"gotol pc{one.imm:+d}"
    if one.operation == _MAYBE and one.kind == JMP:
        return f"may_goto pc{one.off:+d}"
    sign = _CONDITIONS.get(one.operation)
    if sign is None:
        return ""
    letter = "r" if one.kind == JMP else "w"
    right = f"{letter}{one.src}" if one.code & X else f"{one.imm & 0xFFFFFFFF:#x}"
    return f"if {letter}{one.dst} {sign} {right} goto pc{one.off:+d}"


def _call(one: _Fields, names: ReferenceFormatter) -> str:
    if one.src == _OWN:  # once there is native code, how far it is stands in the offset
        return f"call pc{one.off or one.imm:+d}"
    name = names.function(one.imm) if one.src == _KERNEL else names.helper(one.imm)
    return f"call {name or 'a function whose name is hidden'}"


def _constant(one: _Fields, names: ReferenceFormatter) -> str:
    if one.mode == _ABS:
        return f"r0 = *(u{one.width} *)skb[{one.imm}]"
    if one.mode == _IND:
        return f"r0 = *(u{one.width} *)skb[r{one.src} + {one.imm}]"
    if one.code != LD | _IMM | 0x18:
        return ""
    if one.src == _MAP:
        return f"r{one.dst} = map[{names.map(one.imm)}]"
    if one.src == _MAP_VALUE:
        return f"r{one.dst} = map[{names.map(one.imm)}][0]+{one.upper & 0xFFFFFFFF}"
    if one.src == _FUNCTION:
        return f"r{one.dst} = subprog[{one.imm:+d}]"
    return f"r{one.dst} = {(one.upper & 0xFFFFFFFF) << 32 | one.imm & 0xFFFFFFFF:#x}"


def _atomic(one: _Fields) -> str:
    place = f"(u{one.width} *)(r{one.dst} {one.off:+d})"
    wide = "64" if one.width == "64" else ""
    if one.imm == _EXCHANGE:
        return f"r{one.src} = atomic{wide}_xchg({place}, r{one.src})"
    if one.imm == _COMPARE:
        return f"r0 = atomic{wide}_cmpxchg({place}, r0, r{one.src})"
    if one.imm == _ACQUIRE:
        return f"r{one.dst} = load_acquire((u{one.width} *)(r{one.src} {one.off:+d}))"
    if one.imm == _RELEASE:
        return f"store_release({place}, r{one.src})"
    known = _ATOMICS.get(one.imm & ~_FETCH)
    if known is None:
        return ""
    if one.imm & _FETCH:
        return f"r{one.src} = atomic{wide}_fetch_{known[0]}({place}, r{one.src})"
    return f"lock *{place} {known[1]}= r{one.src}"
