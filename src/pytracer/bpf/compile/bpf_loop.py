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
from pytracer.bpf.image import encode_map_reference, encode_reference, iter_constants
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

    def place_lines(self, lines: Sequence[Line]) -> list[Line]:
        """Move the lines of the function to its position; the first line also covers the entry code before
        it."""
        preceding = self.at + (len(_entry_code(self.name)) // 8 if self.at else 0)
        return [replace(line, insn=line.insn + preceding if i else self.at) for i, line in enumerate(lines)]


def collect_bodies(program: str, dump: Callable[[str], bytes]) -> list[LoopBody]:
    """Return a program and the loop bodies that it calls, in order. ``dump`` returns a function's
    instructions."""
    bodies = [LoopBody(program, 0, dump(program))]
    for part in bodies:  # grows during the iteration: a loop body may contain loops
        for name in _find_calls(part.code).values():
            if name not in {body.name for body in bodies}:
                code = _entry_code(name) + dump(name)
                bodies.append(LoopBody(name, bodies[-1].at + len(bodies[-1].code) // 8, code))
    return bodies


def link_bodies(bodies: list[LoopBody]) -> bytes:
    """Join the instructions and resolve the references, which count from the instruction after them."""
    starts = {part.name: part.at for part in bodies}
    code = bytearray(b"".join(part.code for part in bodies))
    for offset, name in _find_calls(bytes(code)).items():
        constant = bytes(code[offset : offset + 16])
        code[offset : offset + 16] = encode_reference(constant, starts[name] - offset // 8 - 1)
    return bytes(code)


def _find_calls(code: bytes) -> dict[int, str]:
    """Find the placeholders of loop bodies: function names by the offset of the instruction."""
    marks = {offset: value - MARK for offset, value in iter_constants(code)}
    return {offset: _decode_name(number) for offset, number in marks.items() if 0 <= number <= 0xFF}


def _decode_name(number: int) -> str:
    if number & _WALK:
        return f"script_walk_{number - _WALK}"
    return f"pt_vma_{number - _VMA}" if number & _VMA else f"pt_loop_{number}"


def _entry_code(name: str) -> bytes:
    if name.startswith("script_walk"):
        return WALK_ENTRY
    return VMA_ENTRY if name.startswith("pt_vma") else ENTRY


def link_maps(code: bytes, descriptors: Mapping[str, int]) -> bytes:
    """Replace the placeholders of a script's maps by references to their descriptors, as BCC writes them."""
    linked = bytearray(code)
    for offset, value in iter_constants(code):
        name = f"script_map_{value - MAP_MARK}"
        if 0 <= value - MAP_MARK <= 0xFF and name in descriptors:
            linked[offset : offset + 16] = encode_map_reference(code[offset : offset + 16], descriptors[name])
    return bytes(linked)


def _assemble_entry(size: Size, context: Register, argument: Register) -> bytes:
    """Return the entry code of a loop body, or of a callback for a mapping.

    The kernel passes the context and, before it, an argument: the iteration number or the mapping. The C
    function takes only the context, whose first member is the argument.
    """
    a = Assembler()
    a.store(size, context, 0, argument)
    a.mov(_R1, context)
    return a.assemble()


ENTRY = _assemble_entry(Size.W, _R2, _R1)
VMA_ENTRY = _assemble_entry(Size.DW, _R3, _R2)


def _assemble_walk_entry() -> bytes:
    """Return the entry code of a callback for each entry of a map.

    The kernel passes the map, the key, the value and the context; the C function takes only the context,
    whose first members are the addresses of key and value.
    """
    a = Assembler()
    a.store(Size.DW, Register.R4, 0, _R2)
    a.store(Size.DW, Register.R4, 8, Register.R3)
    a.mov(_R1, Register.R4)
    return a.assemble()


WALK_ENTRY = _assemble_walk_entry()
