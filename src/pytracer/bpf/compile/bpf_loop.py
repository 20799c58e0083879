"""Functions that the kernel calls back: the bodies of loops by bpf_loop() (Linux 5.17).

BCC compiles each function by itself, and has no place for the address of another. So a program names what is
to be called by a constant (PT_EACH in probes_c/include/loops.h). Here the instructions of that function are
put behind the program's, and the constant becomes what the kernel takes for a reference to them.

See "What BCC does not do" in docs/internals.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytracer.bpf.asm.assembler import Assembler, Register, Size
from pytracer.bpf.compile.line_table import Line
from pytracer.bpf.image import constants_of, reference
from pytracer.record import record, replace

MARK = 0x7079547261637400
"""PT_CALLED of probes_c/include/loops.h; the last byte is the function's number."""
_R1, _R2 = Register.R1, Register.R2


@record
class LoopBody:
    """A function, and which of the whole's instructions is its first."""

    name: str
    at: int
    code: bytes

    def placed(self, lines: Sequence[Line]) -> list[Line]:
        """Where in the whole the lines of the function in C are; the first has what stands before it, too."""
        before = self.at + (len(ENTRY) // 8 if self.at else 0)
        return [replace(line, insn=line.insn + before if i else self.at) for i, line in enumerate(lines)]


def parts(program: str, dump: Callable[[str], bytes]) -> list[LoopBody]:
    """A program and, behind it, what it has called, as ``dump`` gives the instructions of each function."""
    whole = [LoopBody(program, 0, dump(program))]
    for part in whole:  # which grows meanwhile: what is called may have others called
        for name in _called(part.code).values():
            if name not in {known.name for known in whole}:
                whole.append(LoopBody(name, whole[-1].at + len(whole[-1].code) // 8, ENTRY + dump(name)))
    return whole


def joined(whole: list[LoopBody]) -> bytes:
    """Their instructions. Each reference is counted from the instruction behind it."""
    starts = {part.name: part.at for part in whole}
    code = bytearray(b"".join(part.code for part in whole))
    for offset, name in _called(bytes(code)).items():
        constant = bytes(code[offset : offset + 16])
        code[offset : offset + 16] = reference(constant, starts[name] - offset // 8 - 1)
    return bytes(code)


def _called(code: bytes) -> dict[int, str]:
    """The functions that are named, by the offset of the instruction that does so."""
    marks = {offset: value - MARK for offset, value in constants_of(code)}
    return {offset: f"pt_turn_{number}" for offset, number in marks.items() if 0 <= number <= 0xFF}


def _entry() -> bytes:
    """The kernel hands over which turn it is, and the context; the function in C takes the context, which
    begins with the turn."""
    a = Assembler()
    a.store(Size.W, _R2, 0, _R1)
    a.mov(_R1, _R2)
    return a.assemble()


ENTRY = _entry()
