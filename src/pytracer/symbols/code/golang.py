"""Analyze functions compiled by Go: their stack check, and the location of the current goroutine (g).

Goroutines change threads, and their stacks move. A function first checks that its stack is large enough; if
not, it calls morestack and begins again. So its calls are counted behind the check, and belong to
goroutines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytracer.arrays import np
from pytracer.errors import UnreadableCodeError
from pytracer.spec.code import THREAD_G
from pytracer.symbols import elf_tables, symtab
from pytracer.symbols.code import instructions
from pytracer.symbols.code.code_file import ProgramImage
from pytracer.symbols.code.instructions import BRANCH, CALL, JUMP, Instruction

_SECTIONS = (b".gopclntab", b".data.rel.ro.gopclntab", b".go.buildinfo")
_FIRST, _LAST = "runtime.text", "runtime.etext"
_TLS, _TLS_SYMBOL = 7, 6  # PT_TLS, STT_TLS
_DYNAMIC, _INTERPRETER = 2, 3  # PT_*
_PROLOGUE = 16  # instructions, in which the check is
_SPILLS = 64  # instructions, in which arguments are saved around the call of morestack
_LOADS_G = b"\x64\x4c\x8b\x34\x25"  # mov r14, fs:[N], as wrappers begin since Go 1.17
_SCAN = 1 << 20
_NEAR = 1 << 16  # bytes from the thread pointer
# Forms of the check between its jumps: loads of g, of its limit, comparisons, and what large frames compute.
_WRITES = re.compile(r"[re]sp,|\w+ ptr \[")
_CHECKS = frozenset(("mov", "lea", "cmp", "sub", "add", "xor", "test", "nop"))


def is_go(image: ProgramImage, address: int) -> bool:
    """Return whether the Go compiler generated the code at an address; cgo links C code into the same
    file."""
    first, last = _find_text_range(image)
    return first <= address < last and image.frames.find(address) is None


def _find_text_range(image: ProgramImage) -> tuple[int, int]:
    """Return the address range of Go's functions in a file; (0, 0) if there are none."""
    section = image.go_text
    if section is None:
        section = image.go_text = _find_text(image)
    return section


def _find_text(image: ProgramImage) -> tuple[int, int]:
    section = next(
        (candidate for name in _SECTIONS if (candidate := image.tables.section(name)) is not None), None
    )
    if section is None:
        return 0, 0
    bounds = image.symbols.addresses(_FIRST), image.symbols.addresses(_LAST)
    if all(bounds):
        return bounds[0][0], bounds[1][0]
    text = image.tables.section(b".text")  # it is stripped; C is recognized by its call frame information
    return (int(text["addr"]), int(text["addr"]) + int(text["size"])) if text is not None else (0, 0)


def entry(image: ProgramImage, start: int) -> int:
    """Return the address behind the stack check of the function at ``start``, or ``start`` if it has none.

    Raises UnreadableCodeError if the check has an unknown form.
    """
    first, end = image.extent(start)
    if not first:
        return start
    code = instructions.decode(image, image.read(start, min(end - start, 1 << 16)), start)
    entry_point, changes = start, False
    for address in sorted(code)[:_PROLOGUE]:
        size, mnemonic, operands = code[address]
        kind = instructions.kind(mnemonic)
        if kind == BRANCH:
            target = instructions.target(operands)
            if target is not None and _is_stack_check(code, target, start):
                if changes:
                    raise UnreadableCodeError(
                        f"the stack check of the Go function at {image.offset_of(start):#x} of "
                        f"{image.file.name} is of an unknown form"
                    )
                entry_point = address + size
        elif kind:
            break
        elif mnemonic not in _CHECKS or (_WRITES.match(operands) and mnemonic != "cmp"):
            changes = True
    return entry_point


def _is_stack_check(code: dict[int, Instruction], address: int, start: int) -> bool:
    """Return whether a path saves arguments, calls one function, and jumps to the function's start."""
    has_call = False
    for _ in range(_SPILLS):
        instruction = code.get(address)
        if instruction is None:
            return False
        size, mnemonic, operands = instruction
        kind = instructions.kind(mnemonic)
        if kind == CALL:
            if has_call:
                return False
            has_call = True
        elif kind == JUMP:
            target = instructions.target(operands)
            if target == start:
                return has_call
            if target is None:
                return False
            address = target
            continue
        elif kind:
            return False
        address += size
    return False


def g_offset(image: ProgramImage) -> int:
    """Return the offset of g from the thread pointer. Raises UnreadableCodeError if it differs by process."""
    segments = image.tables.segments
    storage = [segment for segment in segments if int(segment["type"]) == _TLS]
    if image.tables.kind != elf_tables.FIXED and not _is_program(image):
        raise UnreadableCodeError(
            f"{image.file.name} is a shared library made of Go: where its goroutine is differs by process"
        )
    if not storage:
        return THREAD_G
    size, align = int(storage[0]["memsz"]), max(int(storage[0]["align"]), 1)
    block = -(-size // align) * align
    for value in _iter_thread_symbols(image, b"runtime.tlsg"):
        return value - block
    if size <= image.word:
        return THREAD_G
    offset = _find_g_offset(image)
    if offset is None:
        raise UnreadableCodeError(f"{image.file.name} does not tell where its goroutine is: it is stripped")
    return offset


def _is_program(image: ProgramImage) -> bool:
    """Return whether a file that may be loaded anywhere is a program: it has a dynamic linker, or needs
    none."""
    kinds = image.tables.segments["type"]
    return bool((kinds == _INTERPRETER).any()) or not bool((kinds == _DYNAMIC).any())


def _iter_thread_symbols(image: ProgramImage, name: bytes) -> Iterator[int]:
    for symbols, strings, _ in symtab.symbol_tables(image.tables):
        thread_symbols = symbols[symbols["info"] & 0xF == _TLS_SYMBOL]
        for symbol in thread_symbols:
            if elf_tables.name_at(strings, int(symbol["name"])).encode() == name:
                yield int(symbol["value"])


def _find_g_offset(image: ProgramImage) -> int | None:
    """Return the offset from which code loads g."""
    start, end = _find_text_range(image)
    raw = image.read(start, min(end - start, _SCAN))
    offsets = [
        -int.from_bytes(raw[match.end() : match.end() + 4], "little", signed=True)
        for match in re.finditer(re.escape(_LOADS_G), raw)
    ]
    offsets = [distance for distance in offsets if 0 < distance <= _NEAR]
    return -int(np.bincount(offsets).argmax()) if offsets else None
