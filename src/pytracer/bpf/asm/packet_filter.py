"""Translate classic BPF, as libpcap compiles it, into the prologue of a BPF program.

Classic BPF has an accumulator A, an index X, sixteen words of memory M[], loads from the packet, and forward
jumps; a load beyond the packet rejects it. The translation is put before the instructions of a program that
runs on packets. If the packet matches, the program runs, with its context in R1 as usual; otherwise it
returns the verdict that leaves the packet alone. So the compiled C is the same for every filter.

    R6   the context          R7   A          R8   X          R9   the offset of an indexed load
    R2, R3   a frame's beginning and end (XDP only)
    the stack: a buffer of 8 bytes, then M[]

See "Packet filters" in docs/internals.md.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from pytracer.bpf.asm.assembler import (
    ALU,
    ALU64,
    CONDITIONS,
    JMP,
    JMP32,
    LD,
    LDX,
    OPERATIONS,
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
    ST,
    STX,
    Assembler,
    B,
    H,
    HelperId,
    Register,
    Size,
    W,
    X,
)
from pytracer.errors import BuildError, UsageError
from pytracer.kernel.pcap import ClassicInstruction, CompiledFilter, LinkType
from pytracer.record import record

_RET, _MISC = JMP32, ALU64  # what these classes are in classic BPF
_IMM, _ABS, _IND, _MEM, _LEN, _MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
_NEGATE, _ALWAYS = 0x80, 0x00
_RETURNS_A, _X_TO_A = 0x10, 0x80
_A, _X = R7, R8
_SLOTS = 16  # of M[]
_BYTES = -8  # the stack offset of the buffer into which packets are read
_MEMORY = -8 - 8 * _SLOTS
_FARTHEST = 0xFFF0  # a frame is read up to here: the verifier knows packets of up to 64 KiB

# Loads at these offsets and above do not read the packet: SKF_LL_OFF, SKF_AD_OFF (linux/filter.h).
_NO_PACKET, _ANCILLARY = 0xFFE00000, 0xFFFFF000
_HEADER_NET = 1  # BPF_HDR_START_NET
_COOKED_HEADER, _COOKED_TYPE = 16, 14  # of LINKTYPE_LINUX_SLL, and where the EtherType is in it


class PacketContext(Enum):
    """The type of a program's context."""

    SKB = "skb"
    """struct __sk_buff: socket filters and traffic control."""
    FRAME = "frame"
    """struct xdp_md."""


@record
class _ContextMember:
    """A member of a context: its offset, and whether it is 16 bits in network byte order."""

    offset: int
    swapped: bool = False


# SKF_AD_*, and the member of struct __sk_buff with the same value.
_SKB = {
    0: _ContextMember(16, swapped=True),  # PROTOCOL
    4: _ContextMember(4),  # PKTTYPE
    8: _ContextMember(40),  # IFINDEX
    20: _ContextMember(8),  # MARK
    24: _ContextMember(12),  # QUEUE
    32: _ContextMember(68),  # RXHASH
    44: _ContextMember(24),  # VLAN_TAG
    48: _ContextMember(20),  # VLAN_TAG_PRESENT
    60: _ContextMember(28, swapped=True),  # VLAN_TPID
}
_FRAME = {8: _ContextMember(12)}
_COOKED = {
    0: _ContextMember(4),
    _COOKED_TYPE: _ContextMember(16, swapped=True),
}  # the kind of packet, the EtherType
_SKB_LENGTH = 0


def prologue(compiled: CompiledFilter, context: PacketContext, passes: int) -> bytes:
    """Translate a filter into instructions to put before a program's own.

    ``passes`` is the return value for packets that do not match. Raises UsageError if the filter needs
    something that the context lacks, BuildError if it is not classic BPF or too long.
    """
    try:
        return _Translation(compiled, context, passes).assemble()
    except BuildError as error:
        raise BuildError(f"--filter {compiled.text!r} cannot be translated: {error.message}") from error


class _Translation:
    def __init__(self, compiled: CompiledFilter, context: PacketContext, passes: int) -> None:
        self._compiled, self._passes = compiled, passes
        self._frame = context is PacketContext.FRAME
        self._code = compiled.code
        self._a = Assembler()
        self._targets: set[str] = set()
        self._falls_through = False

    def assemble(self) -> bytes:
        a = self._a
        a.mov(R6, R1)
        a.mov(_A, 0)
        a.mov(_X, 0)
        for slot in sorted(
            {instruction.k for instruction in self._code if instruction.code in (LD | _MEM, LDX | _MEM)}
        ):
            a.store(W, R10, self._slot_offset(slot), 0)
        if self._frame:
            a.load(W, R2, R1, 0)  # struct xdp_md: data, data_end
            a.load(W, R3, R1, 4)
        for index, instruction in enumerate(self._code):
            # Unreachable instructions are left out: the verifier rejects them. (Jumps go forward.)
            if index == 0 or self._falls_through or str(index) in self._targets:
                a.label(str(index))
                self._falls_through = True
                self._translate(index, instruction)
        if self._falls_through:
            raise BuildError("it does not return")
        if "yes" not in self._targets:
            raise UsageError(f"--filter {self._compiled.text!r} lets no packet through")
        if "no" in self._targets:
            a.label("no")
            a.mov(R0, self._passes)
            a.exit()
        a.label("yes")
        a.mov(R1, R6)
        return a.assemble()

    def _emit_jump(self, label: str) -> None:
        self._targets.add(label)
        self._a.jump(label)
        self._falls_through = False

    def _emit_jump_if(self, register: Register, condition: str, other: Register | int, label: str) -> None:
        self._targets.add(label)
        self._a.jump_if(register, condition, other, label)

    def _translate(self, index: int, instruction: ClassicInstruction) -> None:
        translate: dict[int, Callable[[int, ClassicInstruction], None]] = {
            LD: self._load,
            LDX: self._load_index,
            ST: self._store,
            STX: self._store,
            ALU: self._alu,
            JMP: self._jump,
            _RET: self._return,
            _MISC: self._move,
        }
        translate[instruction.code & 7](index, instruction)

    def _load(self, _: int, instruction: ClassicInstruction) -> None:
        mode = instruction.code & 0xE0
        if mode == _IMM:
            self._load_constant(_A, instruction.k)
        elif mode == _MEM:
            self._a.load(W, _A, R10, self._slot_offset(instruction.k))
        elif mode == _LEN:
            self._load_length(_A)
        elif mode == _ABS:
            self._load_absolute(_A, self._decode_size(instruction), instruction.k)
        elif mode == _IND:
            self._load_indirect(self._decode_size(instruction), instruction.k)
        else:
            raise _unknown_instruction(instruction)

    def _load_index(self, _: int, instruction: ClassicInstruction) -> None:
        mode = instruction.code & 0xE0
        if mode == _IMM:
            self._load_constant(_X, instruction.k)
        elif mode == _MEM:
            self._a.load(W, _X, R10, self._slot_offset(instruction.k))
        elif mode == _LEN:
            self._load_length(_X)
        elif mode == _MSH:  # the length of an IPv4 header
            self._load_absolute(_X, B, instruction.k)
            self._a.alu(_X, "&=", 0xF, bits=32)
            self._a.alu(_X, "<<=", 2, bits=32)
        else:
            raise _unknown_instruction(instruction)

    def _store(self, _: int, instruction: ClassicInstruction) -> None:
        self._a.store(W, R10, self._slot_offset(instruction.k), _A if instruction.code & 7 == ST else _X)

    def _alu(self, _: int, instruction: ClassicInstruction) -> None:
        operation = instruction.code & 0xF0
        if operation == _NEGATE:
            self._a.negate(_A, bits=32)
            return
        names = {code: name for name, code in OPERATIONS.items() if code <= OPERATIONS["^="]}
        if operation not in names:
            raise _unknown_instruction(instruction)
        name = names[operation]
        if not instruction.code & X:
            if name in ("/=", "%=") and instruction.k == 0:
                raise BuildError("it divides by 0")
            if name in ("<<=", ">>=") and instruction.k > 31:
                raise BuildError(f"it shifts by {instruction.k} bits")
            self._a.alu(_A, name, instruction.k, bits=32)
            return
        if name in ("/=", "%="):  # classic BPF ends at a division by 0; BPF continues
            self._emit_jump_if(_X, "==", 0, "no")
        self._a.alu(_A, name, _X, bits=32)

    def _jump(self, index: int, instruction: ClassicInstruction) -> None:
        operation = instruction.code & 0xF0
        if operation == _ALWAYS:
            self._emit_jump(self._label_at(index, instruction.k))
            return
        names = {code: name for name, code in CONDITIONS.items() if code <= CONDITIONS["&"]}
        if operation not in names:
            raise _unknown_instruction(instruction)
        other: Register | int = _X if instruction.code & X else instruction.k
        if isinstance(other, int) and other >> 31:  # would be sign-extended: A is not
            self._load_constant(R0, other)
            other = R0
        self._emit_jump_if(_A, names[operation], other, self._label_at(index, instruction.jt))
        if instruction.jf:
            self._emit_jump(self._label_at(index, instruction.jf))

    def _return(self, _: int, instruction: ClassicInstruction) -> None:
        if instruction.code & 0x18 == _RETURNS_A:
            self._emit_jump_if(_A, "!=", 0, "yes")
            self._emit_jump("no")
        else:
            self._emit_jump("yes" if instruction.k else "no")

    def _move(self, _: int, instruction: ClassicInstruction) -> None:
        is_to_a = instruction.code & 0xF8 == _X_TO_A
        self._a.mov(*((_A, _X) if is_to_a else (_X, _A)))

    def _load_absolute(self, dst: Register, size: Size, offset: int) -> None:
        if offset >= _NO_PACKET:
            member = (_FRAME if self._frame else _SKB).get(offset - _ANCILLARY)
            if member is None:
                raise self._explain_unknown()
            self._load_member(dst, member)
        elif self._compiled.link is LinkType.COOKED and offset < _COOKED_HEADER:
            if offset not in _COOKED or size is not H:
                raise self._explain_unknown()
            self._load_member(dst, _COOKED[offset])
        elif self._frame:
            end = offset + _BITS[size] // 8
            if end > _FARTHEST:
                self._a.mov(R0, 0)
                self._emit_jump_if(R0, "==", 0, "no")
                return
            self._a.mov(R4, R2)
            self._a.add(R4, end)
            self._emit_jump_if(R4, ">", R3, "no")
            self._a.load(size, dst, R4, offset - end)
            self._swap(dst, size)
        else:
            self._load_constant(R9, offset)
            self._read_skb(dst, size)

    def _load_indirect(self, size: Size, offset: int) -> None:
        # 32 bits, as in the kernel, so that both wrap alike. A negative offset is outside of every packet.
        self._a.alu(R9, "=", _X, bits=32)
        self._a.alu(R9, "+=", offset, bits=32)
        if not self._frame:
            self._read_skb(_A, size)
            return
        self._emit_jump_if(R9, ">", _FARTHEST - 4, "no")
        self._a.mov(R4, R2)
        self._a.add(R4, R9)
        self._a.mov(R5, R4)
        self._a.add(R5, _BITS[size] // 8)
        self._emit_jump_if(R5, ">", R3, "no")
        self._a.load(size, _A, R4, 0)
        self._swap(_A, size)

    def _read_skb(self, dst: Register, size: Size) -> None:
        """Read at offset R9. The helper rejects offsets outside of the packet, and negative ones."""
        a = self._a
        is_cooked = self._compiled.link is LinkType.COOKED
        if is_cooked:
            a.alu(R9, "-=", _COOKED_HEADER, bits=32)
        a.mov(R1, R6)
        a.mov(R2, R9)
        a.mov(R3, R10)
        a.add(R3, _BYTES)
        a.mov(R4, _BITS[size] // 8)
        if is_cooked:
            a.mov(R5, _HEADER_NET)
        a.call(HelperId.skb_load_bytes_relative if is_cooked else HelperId.skb_load_bytes)
        self._emit_jump_if(R0, "!=", 0, "no")
        a.load(size, dst, R10, _BYTES)
        self._swap(dst, size)

    def _swap(self, register: Register, size: Size) -> None:
        if size is not B:
            self._a.from_big_endian(register, _BITS[size])

    def _load_member(self, dst: Register, member: _ContextMember) -> None:
        self._a.load(W, dst, R6, member.offset)
        if member.swapped:
            self._a.from_big_endian(dst, 16)

    def _load_length(self, dst: Register) -> None:
        if self._compiled.link is LinkType.COOKED:
            raise self._explain_unknown()
        if self._frame:
            self._a.mov(dst, R3)
            self._a.alu(dst, "-=", R2)
        else:
            self._a.load(W, dst, R6, _SKB_LENGTH)

    def _load_constant(self, register: Register, value: int) -> None:
        self._a.alu(register, "=", value, bits=32)  # the upper half becomes 0

    def _decode_size(self, instruction: ClassicInstruction) -> Size:
        size = Size(instruction.code & 0x18)
        if size not in _BITS:
            raise _unknown_instruction(instruction)
        return size

    def _slot_offset(self, number: int) -> int:
        if number >= _SLOTS:
            raise BuildError(f"it has no M[{number}]")
        return _MEMORY + 8 * number

    def _label_at(self, index: int, skip: int) -> str:
        target = index + 1 + skip
        if skip >> 31:  # protochain: libpcap's own interpreter can jump back, the kernel's cannot
            raise UsageError(f"--filter {self._compiled.text!r} loops, which only tcpdump by itself can")
        if target >= len(self._code):
            raise BuildError("it jumps beyond its end")
        return str(target)

    def _explain_unknown(self) -> UsageError:
        if self._frame:
            description = "a frame that has just come in: it asks for what only the kernel's packets have"
            hint = "sockcount and tccount take it"
        elif self._compiled.link is LinkType.COOKED:
            description = (
                "interfaces of several kinds: it asks for more than the packet from the network header on"
            )
            hint = "name interfaces of one kind"
        else:
            description, hint = "packets here: it asks for what programs are not told", ""
        return UsageError(f"--filter {self._compiled.text!r} is nothing for {description}", hint=hint)


_BITS = {W: 32, H: 16, B: 8}


def _unknown_instruction(instruction: ClassicInstruction) -> BuildError:
    return BuildError(f"classic BPF has no instruction {instruction.code:#x}")
