"""Append the callbacks of bpf_loop(), bpf_find_vma() (Linux 5.17) and bpf_for_each_map_elem() (5.13).

BCC compiles each function by itself and cannot express the address of another. So a program names its loop
body by a constant (PT_LOOP_RUN, PT_VMA_RUN in probes_c/include/loops.h, script_walk in script_values.h).
Here the instructions of that function are appended to the program's, and the constant becomes a reference to
them in the kernel's encoding.

See "What BCC does not do" in docs/internals.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pytracer.bpf.asm.assembler import Assembler, Register, Size
from pytracer.bpf.compile.line_table import Line
from pytracer.bpf.image import constants_of, map_reference, reference
from pytracer.record import record, replace

MARK = 0x7079547261637400
"""PT_LOOP_MARK of probes_c/include/loops.h; the last byte is the function's number."""
MAP_MARK = 0x7079547261637600
"""SCRIPT_MAP of probes_c/include/script_values.h; the last byte is the number of a script's map."""
_WALK = 0x80  # the bit of numbers of callbacks of bpf_for_each_map_elem()
_VMA = 0x40  # and of bpf_find_vma(): PT_VMA of loops.h
_R1, _R2, _R3 = Register.R1, Register.R2, Register.R3


@record
class LoopBody:
    """A function, its code, and the index ``at`` of its first instruction in the whole program."""

    name: str
    at: int
    code: bytes

    def placed(self, lines: Sequence[Line]) -> list[Line]:
        """Move the lines of the function to its position; the first line also covers the entry code before
        it."""
        before = self.at + (len(_entry_of(self.name)) // 8 if self.at else 0)
        return [replace(line, insn=line.insn + before if i else self.at) for i, line in enumerate(lines)]


def parts(program: str, dump: Callable[[str], bytes]) -> list[LoopBody]:
    """Return a program and the loop bodies that it calls, in order. ``dump`` returns a function's
    instructions."""
    whole = [LoopBody(program, 0, dump(program))]
    for part in whole:  # grows during the iteration: a loop body may contain loops
        for name in _called(part.code).values():
            if name not in {known.name for known in whole}:
                code = _entry_of(name) + dump(name)
                whole.append(LoopBody(name, whole[-1].at + len(whole[-1].code) // 8, code))
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
    return {offset: _name_of(number) for offset, number in marks.items() if 0 <= number <= 0xFF}


def _name_of(number: int) -> str:
    if number & _WALK:
        return f"script_walk_{number - _WALK}"
    return f"pt_vma_{number - _VMA}" if number & _VMA else f"pt_loop_{number}"


def _entry_of(name: str) -> bytes:
    if name.startswith("script_walk"):
        return WALK_ENTRY
    return VMA_ENTRY if name.startswith("pt_vma") else ENTRY


def link_maps(code: bytes, descriptors: Mapping[str, int]) -> bytes:
    """Replace the placeholders of a script's maps by references to their descriptors, as BCC writes them."""
    linked = bytearray(code)
    for offset, value in constants_of(code):
        name = f"script_map_{value - MAP_MARK}"
        if 0 <= value - MAP_MARK <= 0xFF and name in descriptors:
            linked[offset : offset + 16] = map_reference(code[offset : offset + 16], descriptors[name])
    return bytes(linked)


def _entry(size: Size, context: Register, argument: Register) -> bytes:
    """Return the entry code of a loop body, or of what looks at a mapping.

    The kernel passes the context and, before it, an argument: the iteration number or the mapping. The C
    function takes only the context, whose first member is the argument.
    """
    a = Assembler()
    a.store(size, context, 0, argument)
    a.mov(_R1, context)
    return a.assemble()


ENTRY = _entry(Size.W, _R2, _R1)
VMA_ENTRY = _entry(Size.DW, _R3, _R2)


def _walk_entry() -> bytes:
    """Return the entry code of a callback for each entry of a map.

    The kernel passes the map, the key, the value and the context; the C function takes only the context,
    whose first members are the addresses of key and value.
    """
    a = Assembler()
    a.store(Size.DW, Register.R4, 0, _R2)
    a.store(Size.DW, Register.R4, 8, Register.R3)
    a.mov(_R1, Register.R4)
    return a.assemble()


WALK_ENTRY = _walk_entry()
