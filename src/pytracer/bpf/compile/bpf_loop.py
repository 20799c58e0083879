"""Append the callbacks of bpf_loop() (Linux 5.17), the loop bodies, to their programs.

BCC compiles each function by itself and cannot express the address of another. So a program names its loop
body by a constant (PT_LOOP_RUN in probes_c/include/loops.h). Here the instructions of that function are
appended to the program's, and the constant becomes a reference to them in the kernel's encoding.

See "What BCC does not do" in docs/internals.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytracer.bpf.asm.assembler import Assembler, Register, Size
from pytracer.bpf.compile.line_table import Line
from pytracer.bpf.image import constants_of, reference
from pytracer.record import record, replace

MARK = 0x7079547261637400
"""PT_LOOP_MARK of probes_c/include/loops.h; the last byte is the function's number."""
_R1, _R2 = Register.R1, Register.R2


@record
class LoopBody:
    """A function, its code, and the index ``at`` of its first instruction in the whole program."""

    name: str
    at: int
    code: bytes

    def placed(self, lines: Sequence[Line]) -> list[Line]:
        """Move the lines of the function to its position; the first line also covers the entry code before
        it."""
        before = self.at + (len(ENTRY) // 8 if self.at else 0)
        return [replace(line, insn=line.insn + before if i else self.at) for i, line in enumerate(lines)]


def parts(program: str, dump: Callable[[str], bytes]) -> list[LoopBody]:
    """Return a program and the loop bodies that it calls, in order. ``dump`` returns a function's
    instructions."""
    whole = [LoopBody(program, 0, dump(program))]
    for part in whole:  # grows during the iteration: a loop body may contain loops
        for name in _called(part.code).values():
            if name not in {known.name for known in whole}:
                whole.append(LoopBody(name, whole[-1].at + len(whole[-1].code) // 8, ENTRY + dump(name)))
    return whole


def link_bodies(whole: list[LoopBody]) -> bytes:
    """Join the instructions and resolve the references, which count from the instruction after them."""
    starts = {part.name: part.at for part in whole}
    code = bytearray(b"".join(part.code for part in whole))
    for offset, name in _called(bytes(code)).items():
        constant = bytes(code[offset : offset + 16])
        code[offset : offset + 16] = reference(constant, starts[name] - offset // 8 - 1)
    return bytes(code)


def _called(code: bytes) -> dict[int, str]:
    """Find the placeholders of loop bodies: function names by the offset of the instruction."""
    marks = {offset: value - MARK for offset, value in constants_of(code)}
    return {offset: f"pt_loop_{number}" for offset, number in marks.items() if 0 <= number <= 0xFF}


def _entry() -> bytes:
    """Return the entry code of a loop body.

    The kernel passes the iteration number and the context; the C function takes only the context, whose first
    member is the iteration number.
    """
    a = Assembler()
    a.store(Size.W, _R2, 0, _R1)
    a.mov(_R1, _R2)
    return a.assemble()


ENTRY = _entry()
