"""An assembler for BPF: instructions written one by one, labels instead of counted jumps.

A BPF machine has eleven 64-bit registers and a stack of 512 bytes. R1 holds the context when a program
begins; R1 to R5 are the arguments of a call and lost in it; R0 is its result, and the program's own at
the end; R6 to R9 survive calls; R10 points at the end of the stack and cannot be written::

    a = Assembler()
    a.load(W, R0, R1, 0)  #            r0 = the first word of the context
    a.jump_if(R0, "!=", 0, "out")
    a.mov(R0, 1)
    a.label("out")
    a.exit()
    code = a.assemble()

An instruction is a ``struct bpf_insn`` of 8 bytes (include/uapi/linux/bpf.h; RFC 9669)::

    u8 code   u4 dst   u4 src   s16 off   s32 imm

The low three bits of ``code`` are the class. The rest is an operation and a source (arithmetic, jumps), or
a mode and a size (loads and stores).
"""

from __future__ import annotations

import struct
import sys
from enum import Enum, IntEnum

from pytracer.errors import BuildError
from pytracer.record import record, replace

# Shared by classic BPF and BPF: classes, sizes, modes, operations and sources (linux/bpf_common.h).
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)  # classic: JMP32 is RET, ALU64 is MISC
K, X = 0x00, 0x08  # the source: a constant, or a register
IMM, MEM = 0x00, 0x60  # modes
OPERATIONS = {
    "+=": 0x00,
    "-=": 0x10,
    "*=": 0x20,
    "/=": 0x30,
    "|=": 0x40,
    "&=": 0x50,
    "<<=": 0x60,
    ">>=": 0x70,
    "%=": 0x90,
    "^=": 0xA0,
    "=": 0xB0,  # from here on not in classic BPF (linux/bpf.h)
    "s>>=": 0xC0,
}
NEGATE, SWAP = 0x80, 0xD0
CONDITIONS = {
    "==": 0x10,
    ">": 0x20,
    ">=": 0x30,
    "&": 0x40,  # any of these bits is set
    "!=": 0x50,  # from here on not in classic BPF
    "s>": 0x60,
    "s>=": 0x70,
    "<": 0xA0,  # these four from Linux 4.14 on (92b31a9af73b)
    "<=": 0xB0,
    "s<": 0xC0,
    "s<=": 0xD0,
}
ALWAYS, CALL, EXIT = 0x00, 0x80, 0x90
MAP_FD = 1  # the source register of a 64-bit constant that is a map's descriptor


class Size(Enum):
    """The size of a load or store; the value is its encoding."""

    W = 0x00
    H = 0x08
    B = 0x10
    DW = 0x18

    @property
    def ctype(self) -> str:
        """The C type of that size."""
        return {"W": "u32", "H": "u16", "B": "u8", "DW": "u64"}[self.name]


class Register(Enum):
    """One of the eleven registers."""

    R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)


W, H, B, DW = Size.W, Size.H, Size.B, Size.DW
R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = Register


class HelperId(IntEnum):
    """Kernel functions that programs may call (``enum bpf_func_id``): those that pytracer uses."""

    map_lookup_elem = 1
    map_update_elem = 2
    map_delete_elem = 3
    ktime_get_ns = 5
    get_smp_processor_id = 8
    tail_call = 12
    get_current_pid_tgid = 14
    perf_event_output = 25
    skb_load_bytes = 26
    get_stackid = 27
    skb_load_bytes_relative = 68  # Linux 4.18 (4e1ec56cdc59)
    get_local_storage = 81  # Linux 4.19 (cd3394317653)
    map_push_elem = 87  # these three Linux 4.20 (f1a2e44a3aec)
    map_pop_elem = 88
    map_peek_elem = 89
    ringbuf_output = 130  # these three Linux 5.8 (457f44363a88)
    ringbuf_reserve = 131
    ringbuf_submit = 132
    task_storage_get = 156  # Linux 5.11 (4cf1bc1f1045)
    get_current_task_btf = 158  # Linux 5.11 (3ca1032ab7ab)


@record
class Instruction:
    """One ``struct bpf_insn``.

    ``target`` is the label a jump goes to; ``off`` is then computed later. ``note`` replaces the text of a
    listing that is otherwise made from the fields.
    """

    code: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0
    target: str = ""
    note: str = ""

    def encode(self) -> bytes:
        """Encode the instruction in this machine's byte order. The registers share a byte, a bit field in
        C."""
        first, second = (self.dst, self.src) if sys.byteorder == "little" else (self.src, self.dst)
        # A constant is 32 bits; those with the top bit set may be given signed or unsigned.
        return struct.pack("=BBhI", self.code, second << 4 | first, self.off, self.imm & 0xFFFFFFFF)

    def __str__(self) -> str:
        """Return the instruction in C notation."""
        return self.note or _format_instruction(self)


class Assembler:
    """A program under construction. Each method adds one instruction and is named after it.

    Raises BuildError for what cannot be encoded: a label that is defined twice or never, a number that is too
    large. It does not check what the verifier checks, such as registers that are never set.
    """

    def __init__(self) -> None:
        self._code: list[Instruction] = []
        self._labels: dict[str, int] = {}
        self._comments: dict[int, list[str]] = {}

    def __len__(self) -> int:
        """Return the number of instructions; a 64-bit constant counts as two."""
        return len(self._code)

    def comment(self, text: str) -> None:
        """Add a comment before the next instruction of the listing."""
        self._comments.setdefault(len(self._code), []).append(text)

    def label(self, name: str) -> None:
        """Define a label at the next instruction."""
        if name in self._labels:
            raise BuildError(f"label {name!r} is defined twice")
        self._labels[name] = len(self._code)

    def mov(self, dst: Register, src: Register | int) -> None:
        """``dst = src``; a constant is sign-extended to 64 bits."""
        self.alu(dst, "=", src)

    def add(self, dst: Register, src: Register | int) -> None:
        """``dst += src``, also to move a pointer."""
        self.alu(dst, "+=", src)

    def alu(self, dst: Register, operation: str, src: Register | int, *, bits: int = 64) -> None:
        """``dst OPERATION src``, with an operation of :data:`OPERATIONS`, such as ``"<<="``.

        With ``bits=32`` on the lower halves; the upper half of ``dst`` becomes 0.
        """
        self._binary(
            _choose_width(bits, ALU64, ALU), _encode_symbol(OPERATIONS, operation, "operation"), dst, src
        )

    def negate(self, dst: Register, *, bits: int = 64) -> None:
        """``dst = -dst``."""
        self._add(Instruction(_choose_width(bits, ALU64, ALU) | NEGATE, dst.value))

    def from_big_endian(self, dst: Register, bits: int) -> None:
        """Convert the low 16, 32 or 64 bits from network byte order; the upper bits become 0."""
        if bits not in (16, 32, 64):
            raise BuildError(f"a byte order of {bits} bits: it is 16, 32 or 64")
        self._add(Instruction(ALU | SWAP | X, dst.value, imm=bits))

    def load(self, size: Size, dst: Register, src: Register, off: int) -> None:
        """``dst = *(src + off)``; the upper bits become 0."""
        self._add(Instruction(LDX | MEM | size.value, dst.value, src.value, _check_s16(off)))

    def store(self, size: Size, dst: Register, off: int, src: Register | int) -> None:
        """``*(dst + off) = src``."""
        if isinstance(src, Register):
            self._add(Instruction(STX | MEM | size.value, dst.value, src.value, _check_s16(off)))
        else:
            self._add(Instruction(ST | MEM | size.value, dst.value, 0, _check_s16(off), _check_s32(src)))

    def load_constant(self, dst: Register, value: int) -> None:
        """``dst = value``, a 64-bit constant."""
        if not -(1 << 63) <= value < 1 << 64:
            raise BuildError(f"{value} does not fit into 64 bits")
        self._wide(dst, 0, value, f"{_format_register(dst.value)} = {value:#x}")

    def load_map(self, dst: Register, fd: int, name: str = "") -> None:
        """``dst =`` the address of the map open as ``fd``, which the kernel inserts when it loads the
        program.

        ``name`` is shown in the listing.
        """
        if not 0 <= fd < 1 << 31:
            raise BuildError(f"{fd} is not a descriptor of a map")
        self._wide(dst, MAP_FD, fd, f"{_format_register(dst.value)} = map {name or fd}")

    def jump(self, target: str) -> None:
        """Jump to the label ``target``."""
        self._add(Instruction(JMP | ALWAYS, target=target))

    def jump_if(
        self, dst: Register, condition: str, src: Register | int, target: str, *, bits: int = 64
    ) -> None:
        """Jump to ``target`` if ``dst CONDITION src``, with a condition of :data:`CONDITIONS`.

        ``bits=32`` compares the lower halves (Linux 5.1).
        """
        self._binary(
            _choose_width(bits, JMP, JMP32),
            _encode_symbol(CONDITIONS, condition, "condition"),
            dst,
            src,
            target,
        )

    def call(self, helper: HelperId) -> None:
        """Call a helper: ``r0 = helper(r1, ..., r5)``."""
        self._add(Instruction(JMP | CALL, imm=helper))

    def exit(self) -> None:
        """End the program; R0 is its result."""
        self._add(Instruction(JMP | EXIT))

    def instructions(self) -> list[Instruction]:
        """Return the program with jump offsets resolved: ``off`` counts from the instruction after the
        jump."""
        return [self._resolve(index, instruction) for index, instruction in enumerate(self._code)]

    def assemble(self) -> bytes:
        """Return the program as the kernel accepts it, 8 bytes for each instruction."""
        return b"".join(instruction.encode() for instruction in self.instructions())

    def listing(self) -> str:
        """Return the program as text: labels, comments and instructions."""
        places: dict[int, list[str]] = {}
        for name, offset in self._labels.items():
            places.setdefault(offset, []).append(name)
        lines = []
        for offset, instruction in enumerate([*self.instructions(), None]):
            lines += [f"{name}:" for name in places.get(offset, [])]
            lines += [f"       ; {text}" for text in self._comments.get(offset, [])]
            if instruction is not None and instruction.code:  # 0: the second half of a 64-bit constant
                lines.append(f"{offset:5}: {instruction}")
        return "\n".join(lines) + "\n"

    def _add(self, instruction: Instruction) -> None:
        self._code.append(instruction)

    def _binary(
        self, kind: int, operation: int, dst: Register, src: Register | int, target: str = ""
    ) -> None:
        if isinstance(src, Register):
            self._add(Instruction(kind | operation | X, dst.value, src.value, target=target))
        else:
            imm = _check_s32(src, unsigned=kind in (ALU, JMP32))
            self._add(Instruction(kind | operation | K, dst.value, imm=imm, target=target))

    def _wide(self, dst: Register, src: int, value: int, note: str) -> None:
        self._add(Instruction(LD | IMM | DW.value, dst.value, src, imm=value & 0xFFFFFFFF, note=note))
        self._add(Instruction(0, imm=value >> 32 & 0xFFFFFFFF))

    def _resolve(self, index: int, instruction: Instruction) -> Instruction:
        if not instruction.target:
            return instruction
        target_index = self._labels.get(instruction.target)
        if target_index is None:
            raise BuildError(f"there is a jump to {instruction.target!r}, but no such label")
        off = _check_s16(target_index - index - 1, f"the way to label {instruction.target!r}")
        return replace(instruction, off=off)


def _format_instruction(i: Instruction) -> str:
    """Format an instruction in the verifier's notation; ``w`` registers are lower halves."""
    kind = i.code & 0x07
    if kind in (ALU, ALU64):
        is_half = kind == ALU
        dst, operation = _format_register(i.dst, is_half), i.code & 0xF0
        if operation == NEGATE:
            return f"{dst} = -{dst}"
        if operation == SWAP:
            return f"{_format_register(i.dst)} = be{i.imm} {_format_register(i.dst)}"
        return f"{dst} {_find_symbol(OPERATIONS, operation)} {_format_source(i, is_half)}"
    if kind in (JMP, JMP32):
        is_half = kind == JMP32
        operation = i.code & 0xF0
        if operation == CALL:
            return f"call {HelperId(i.imm).name}"
        if operation == EXIT:
            return "exit"
        goto = f"goto {i.target or f'{i.off:+d}'}"
        if operation == ALWAYS:
            return goto
        condition = f"{_find_symbol(CONDITIONS, operation)} {_format_source(i, is_half)}"
        return f"if {_format_register(i.dst, is_half)} {condition} {goto}"
    ctype = Size(i.code & 0x18).ctype
    if kind == LDX:
        return f"{_format_register(i.dst)} = *({ctype} *)({_format_register(i.src)} {_format_offset(i.off)})"
    source = _format_register(i.src) if kind == STX else _format_constant(i.imm)
    return f"*({ctype} *)({_format_register(i.dst)} {_format_offset(i.off)}) = {source}"


def _format_register(register: int, is_half: bool = False) -> str:
    return f"{'w' if is_half else 'r'}{register}"


def _format_source(i: Instruction, is_half: bool) -> str:
    return _format_register(i.src, is_half) if i.code & X else _format_constant(i.imm)


def _format_constant(value: int) -> str:
    return str(value) if -0x100 < value < 0x100 else hex(value)


def _format_offset(off: int) -> str:
    return f"{'-' if off < 0 else '+'} {abs(off)}"


def _find_symbol(table: dict[str, int], code: int) -> str:
    return next(text for text, value in table.items() if value == code)


def _encode_symbol(table: dict[str, int], text: str, kind: str) -> int:
    try:
        return table[text]
    except KeyError:
        raise BuildError(f"no {kind} {text!r}", hint=f"there is {' '.join(table)}") from None


def _choose_width(bits: int, if_64: int, if_32: int) -> int:
    if bits not in (32, 64):
        raise BuildError(f"an instruction works on 32 or on 64 bits, not on {bits}")
    return if_64 if bits == 64 else if_32


def _check_s16(value: int, label: str = "offset") -> int:
    if not -(1 << 15) <= value < 1 << 15:
        raise BuildError(f"{label} {value} does not fit into 16 bits")
    return value


def _check_s32(value: int, *, unsigned: bool = False) -> int:
    # In 64-bit arithmetic a constant is sign-extended: one with the top bit set would not mean itself.
    if not -(1 << 31) <= value < (1 << 32 if unsigned else 1 << 31):
        raise BuildError(f"constant {value} does not fit into 32 bits", hint="load_constant takes 64")
    return value
