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
        self, code: int, k: int = 0, targets: tuple[str, ...] = (), far: list[bool] | None = None
    ) -> None:
        self.code, self.k, self.targets, self.far = code, k, targets, far

    @property
    def size(self) -> int:
        return 1 + sum(self.far or ())


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

    def jump_if(self, condition: str, k: int, target: str, otherwise: str = "") -> None:
        """Jump to ``target`` if ``A CONDITION k`` (unsigned; ``&``: any of these bits is set), else to
        ``otherwise``, by default the next instruction."""
        labels = (target, otherwise)
        if condition in _OTHERWISE:
            condition, labels = _OTHERWISE[condition], (otherwise, target)
        if condition not in _CONDITIONS:
            known = " ".join([*_CONDITIONS, *_OTHERWISE])
            raise BuildError(f"no condition {condition!r}", hint=f"there is {known}")
        self._code.append(_Instruction(JMP | _CONDITIONS[condition] | K, _u32(k), labels, [False, False]))

    def ret(self, k: int) -> None:
        """End the program with this result."""
        self._add(RET | K, k)

    def assemble(self) -> bytes:
        """Return the program as the kernel accepts it, 8 bytes for each instruction, at most 4096 of them."""
        places = self._stretch()
        if places[-1] > MOST:
            raise BuildError(f"a program of {places[-1]} instructions; the kernel takes {MOST}")
        out = []
        for at, instruction in enumerate(self._code):
            place = places[at]
            if instruction.far is None:
                k = (
                    self._distance(instruction.targets[0], at, places)
                    if instruction.targets
                    else instruction.k
                )
                out.append(_encode(instruction.code, k))
                continue
            steps, extra = list[int](), list[bytes]()
            for target, far in zip(instruction.targets, instruction.far, strict=True):
                if far:  # to the inserted jump, whose own offset counts from its position
                    steps.append(len(extra))
                    distance = self._distance(target, at, places) - len(extra) - 1
                    extra.append(_encode(JMP | _ALWAYS, distance))
                else:
                    steps.append(self._distance(target, at, places))
            assert places[at + 1] == place + 1 + len(extra)
            out += [_encode(instruction.code, instruction.k, *steps), *extra]
        return b"".join(out)

    def _add(self, code: int, k: int) -> None:
        self._code.append(_Instruction(code, _u32(k)))

    def _stretch(self) -> list[int]:
        """Insert jumps until every label is in reach. Returns the position of each instruction, and the end.

        An inserted jump may push another label out of reach; since none is ever removed, this ends.
        """
        while True:
            places = [0]
            for instruction in self._code:
                places.append(places[-1] + instruction.size)
            grown = False
            for at, instruction in enumerate(self._code):
                for index, target in enumerate(instruction.targets if instruction.far else ()):
                    assert instruction.far is not None
                    if not instruction.far[index] and self._distance(target, at, places) > _REACH:
                        instruction.far[index] = grown = True
            if not grown:
                return places

    def _distance(self, target: str, at: int, places: list[int]) -> int:
        """Count the instructions between the one ``at`` and its target."""
        if not target:
            return places[at + 1] - places[at] - 1
        place = self._labels.get(target)
        if place is None:
            raise BuildError(f"there is a jump to {target!r}, but no such label")
        if place <= at:
            raise BuildError(f"a jump back to {target!r}: classic BPF only jumps forward")
        if place == len(self._code):
            raise BuildError(f"a jump to {target!r} leaves the program")
        return places[place] - places[at] - 1


def _encode(code: int, k: int, jt: int = 0, jf: int = 0) -> bytes:
    return struct.pack("=HBBI", code, jt, jf, k)


def _u32(value: int) -> int:
    if not 0 <= value < 1 << 32:
        raise BuildError(f"{value} does not fit into 32 bits")
    return value
