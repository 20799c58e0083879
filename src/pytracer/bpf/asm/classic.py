"""An assembler for classic BPF, the machine that system call filters and old socket filters are written for.

It has one 32-bit register that matters here, A; what it filters is read by offsets, and jumps go forward
only. A conditional jump names both ways, each at most 255 instructions away; where a label is farther, the
assembler puts an unconditional jump, which reaches all, in between::

    a = Classic()
    a.load(0)  #                   A = the word at offset 0
    a.jump_if("==", 39, "no")  #   or else go on
    a.ret(0x7FFF0000)
    a.label("no")
    a.ret(0)
    code = a.assemble()

An instruction is a ``struct sock_filter`` of 8 bytes (include/uapi/linux/filter.h)::

    u16 code   u8 jt   u8 jf   u32 k
"""

from __future__ import annotations

import struct

from pytracer.bpf.asm.assembler import ALU, JMP, LD, OPERATIONS, K
from pytracer.errors import BuildError

RET = 0x06  # the class that BPF uses for jumps on 32 bits
ABSOLUTE = 0x20  # the mode: at an offset of the input
MOST = 4096  # BPF_MAXINSNS
_ALWAYS = 0x00
_CONDITIONS = {"==": 0x10, ">": 0x20, ">=": 0x30, "&": 0x40}
_OTHERWISE = {"!=": "==", "<=": ">", "<": ">="}  # classic BPF has only the opposite of these
_OPERATIONS = [name for name in OPERATIONS if OPERATIONS[name] <= OPERATIONS["^="]]
_REACH = 255


class _Instruction:
    """One instruction under construction: its target labels ("": the next instruction), and for each whether
    it needs an unconditional jump to reach it."""

    def __init__(
        self, code: int, k: int = 0, targets: tuple[str, ...] = (), needs_jump: list[bool] | None = None
    ) -> None:
        self.code, self.k, self.targets, self.needs_jump = code, k, targets, needs_jump

    @property
    def size(self) -> int:
        return 1 + sum(self.needs_jump or ())


class ClassicAssembler:
    """A program under construction. Each method adds one instruction and is named after it.

    Raises BuildError for a label that is defined twice or never, a jump back, a number that is too large.
    """

    def __init__(self) -> None:
        self._code: list[_Instruction] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        """Define a label at the next instruction."""
        if not name or name in self._labels:
            raise BuildError(f"label {name!r} is defined twice" if name else "a label needs a name")
        self._labels[name] = len(self._code)

    def load(self, offset: int) -> None:
        """Emit ``A =`` the 32-bit word at this offset of the input."""
        self._add(LD | ABSOLUTE, offset)

    def alu(self, operation: str, k: int) -> None:
        """Emit ``A OPERATION k``, such as ``"&="``."""
        if operation not in _OPERATIONS:
            raise BuildError(f"no operation {operation!r}", hint=f"there is {' '.join(_OPERATIONS)}")
        self._add(ALU | OPERATIONS[operation] | K, k)

    def jump(self, target: str) -> None:
        """Jump to the label ``target``."""
        self._code.append(_Instruction(JMP | _ALWAYS, 0, (target,)))

    def jump_if(self, condition: str, k: int, target: str, else_target: str = "") -> None:
        """Jump to ``target`` if ``A CONDITION k`` (unsigned; ``&``: any of these bits is set), else to
        ``else_target``, by default the next instruction."""
        labels = (target, else_target)
        if condition in _OTHERWISE:
            condition, labels = _OTHERWISE[condition], (else_target, target)
        if condition not in _CONDITIONS:
            conditions = " ".join([*_CONDITIONS, *_OTHERWISE])
            raise BuildError(f"no condition {condition!r}", hint=f"there is {conditions}")
        self._code.append(
            _Instruction(JMP | _CONDITIONS[condition] | K, _check_u32(k), labels, [False, False])
        )

    def ret(self, k: int) -> None:
        """End the program with this result."""
        self._add(RET | K, k)

    def assemble(self) -> bytes:
        """Return the program as the kernel accepts it, 8 bytes for each instruction, at most 4096 of them."""
        positions = self._insert_jumps()
        if positions[-1] > MOST:
            raise BuildError(f"a program of {positions[-1]} instructions; the kernel takes {MOST}")
        encoded = []
        for index, instruction in enumerate(self._code):
            position = positions[index]
            if instruction.needs_jump is None:
                k = (
                    self._count_distance(instruction.targets[0], index, positions)
                    if instruction.targets
                    else instruction.k
                )
                encoded.append(_encode(instruction.code, k))
                continue
            steps, jump_code = list[int](), list[bytes]()
            for target, needs_jump in zip(instruction.targets, instruction.needs_jump, strict=True):
                if needs_jump:  # to the inserted jump, whose own offset counts from its position
                    steps.append(len(jump_code))
                    distance = self._count_distance(target, index, positions) - len(jump_code) - 1
                    jump_code.append(_encode(JMP | _ALWAYS, distance))
                else:
                    steps.append(self._count_distance(target, index, positions))
            assert positions[index + 1] == position + 1 + len(jump_code)
            encoded += [_encode(instruction.code, instruction.k, *steps), *jump_code]
        return b"".join(encoded)

    def _add(self, code: int, k: int) -> None:
        self._code.append(_Instruction(code, _check_u32(k)))

    def _insert_jumps(self) -> list[int]:
        """Insert jumps until every label is in reach. Returns the position of each instruction, and the end.

        An inserted jump may push another label out of reach; since none is ever removed, this ends.
        """
        while True:
            positions = [0]
            for instruction in self._code:
                positions.append(positions[-1] + instruction.size)
            has_grown = False
            for position, instruction in enumerate(self._code):
                for operand, target in enumerate(instruction.targets if instruction.needs_jump else ()):
                    assert instruction.needs_jump is not None
                    if (
                        not instruction.needs_jump[operand]
                        and self._count_distance(target, position, positions) > _REACH
                    ):
                        instruction.needs_jump[operand] = has_grown = True
            if not has_grown:
                return positions

    def _count_distance(self, target: str, index: int, positions: list[int]) -> int:
        """Count the instructions between the one ``index`` and its target."""
        if not target:
            return positions[index + 1] - positions[index] - 1
        position = self._labels.get(target)
        if position is None:
            raise BuildError(f"there is a jump to {target!r}, but no such label")
        if position <= index:
            raise BuildError(f"a jump back to {target!r}: classic BPF only jumps forward")
        if position == len(self._code):
            raise BuildError(f"a jump to {target!r} leaves the program")
        return positions[position] - positions[index] - 1


def _encode(code: int, k: int, jt: int = 0, jf: int = 0) -> bytes:
    return struct.pack("=HBBI", code, jt, jf, k)


def _check_u32(value: int) -> int:
    if not 0 <= value < 1 << 32:
        raise BuildError(f"{value} does not fit into 32 bits")
    return value
