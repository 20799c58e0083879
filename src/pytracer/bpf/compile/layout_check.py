"""Check that the compiled code accesses members of kernel structs at the kernel's offsets.

BCC generates code for the host and relabels it as BPF, so a correct header can still be compiled to wrong
offsets, and ``offsetof`` would not show it: the compiler's front end evaluates it by the host's rules, while
loads and stores follow BPF's. Only the bytecode counts. ``check_functions`` are C functions to append to the
program: they store the address of every member of a struct at its argument. (Not the distance from the
argument: the compiler would fold that by the host's rules again.) They are compiled with the rest and never
loaded. ``verify_all`` interprets their bytecode and compares the distances.

See "Source and headers" in docs/internals.md.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pytracer.errors import SchemaError

FUNCTION = "pytracer_layout_check"
# LLVM 19 keeps more addresses of one function at hand than the 512 bytes of BPF's stack have room for.
_CHUNK = 128

_LD_IMM64, _EXIT = 0x18, 0x95
_STORE_REGISTER, _STORE_NUMBER, _LOAD = 0x7B, 0x7A, 0x79
_FRAME = 10
_U64 = (1 << 64) - 1
_LITTLE = sys.byteorder == "little"


class MemberOffset(NamedTuple):
    """``member`` of ``record`` (``struct x``) must be ``offset`` bytes from the start."""

    record: str
    member: str
    offset: int


class _Value(NamedTuple):
    """``bases`` times the function's argument, plus ``number``."""

    bases: int
    number: int


def check_functions(checks: Sequence[MemberOffset]) -> str:
    """Return the C text to append to a program, "" without checks. BCC's rewriter leaves it unchanged."""
    return "".join(check_function(chunk, name) for name, chunk in _iter_chunks(checks))


def verify_all(dump: Callable[[str], bytes], checks: Sequence[MemberOffset]) -> None:
    """``verify`` the compiled ``check_functions(checks)``; ``dump`` returns a function's bytecode."""
    for name, chunk in _iter_chunks(checks):
        verify(dump(name), chunk)


def _iter_chunks(checks: Sequence[MemberOffset]) -> Iterator[tuple[str, Sequence[MemberOffset]]]:
    for start in range(0, len(checks), _CHUNK):
        yield f"{FUNCTION}_{start // _CHUNK}", checks[start : start + _CHUNK]


def check_function(checks: Sequence[MemberOffset], name: str = FUNCTION) -> str:
    """Return one function of ``check_functions``."""
    lines = [f"\nint {name}(void *base)", "{"]
    for i, (record, member, _) in enumerate(checks):
        # To the compiler, the empty assembly may change the pointer. So it does not know it to be an offset
        # from ``base``, which it would work out early too, and does not keep the addresses of thousands of
        # members for use further down, for which there is no stack.
        lines.append(
            f"\t{{ {record} *at = base; "
            f'__asm__("" : "+r"(at)); ((volatile u64 *)base)[{i}] = (u64)&at->{member}; }}'
        )
    return "\n".join([*lines, "\treturn 0;", "}", ""])


def verify(bytecode: bytes, checks: Sequence[MemberOffset]) -> None:
    """Compare the bytecode of ``check_function(checks)`` (``struct bpf_insn`` records) with ``checks``.

    Raises SchemaError that names the first member whose offset is wrong or was not found.
    """
    stored_values = _interpret_stores(bytecode)
    for i, (record, member, offset) in enumerate(checks):
        value = stored_values.get(8 * i)
        if value != offset:
            compiled = "nothing that could be checked" if value is None else f"offset {value}"
            raise SchemaError(
                f"{record}.{member} is at offset {offset} in this kernel, but was compiled to {compiled}",
                hint="try the kernel's header package instead of its BTF, and please report this",
            )


def _interpret_stores(bytecode: bytes) -> dict[int, int]:
    """Interpret a function of straight-line code: the values that it stores, by byte offset from its
    argument."""
    if len(bytecode) % 8:
        raise SchemaError("the layout check is not a whole number of instructions")
    registers: dict[int, _Value | None] = {1: _Value(1, 0)}
    stored_values: dict[int, int] = {}
    stack: dict[int, _Value | None] = {}
    words = list(struct.iter_unpack("=BBhi", bytecode))
    skip = False
    for index, (code, nibbles, offset, number) in enumerate(words):
        if skip:
            skip = False
            continue
        low, high = nibbles & 0xF, nibbles >> 4
        dst, source = (low, high) if _LITTLE else (high, low)
        if code == _EXIT:
            break
        if code == _LD_IMM64 and index + 1 < len(words):
            registers[dst] = _Value(0, number & 0xFFFFFFFF | (words[index + 1][3] & 0xFFFFFFFF) << 32)
            skip = True
        elif code in (_STORE_REGISTER, _STORE_NUMBER):
            value = registers.get(source) if code == _STORE_REGISTER else _Value(0, number & _U64)
            base = registers.get(dst)
            if dst == _FRAME:
                stack[offset] = value
            elif base and value and base.bases == value.bases == 1:
                stored_values[base.number + offset] = value.number
        elif code == _LOAD and source == _FRAME:
            registers[dst] = stack.get(offset)
        elif code & 7 in (4, 7):
            registers[dst] = _interpret_alu(code, registers.get(dst), registers.get(source), number)
        else:
            raise SchemaError(f"the layout check holds an instruction that it should not ({code:#x})")
    return stored_values


def _interpret_alu(code: int, left: _Value | None, register: _Value | None, number: int) -> _Value | None:
    """Interpret one arithmetic instruction; None if the result is not tracked."""
    right = register if code & 8 else _Value(0, number)
    operation, is_32_bit = code & 0xF0, code & 7 == 4
    result = None
    if operation == 0xB0:
        result = right
    elif left is not None and right is not None:
        if operation == 0x00:
            result = _Value(left.bases + right.bases, left.number + right.number)
        elif operation == 0x10:
            result = _Value(left.bases - right.bases, left.number - right.number)
        elif operation == 0x40 and not left.bases and not right.bases:
            result = _Value(0, left.number | right.number)
    if result is None or (is_32_bit and result.bases):
        return None
    return _Value(result.bases, result.number & (0xFFFFFFFF if is_32_bit else _U64))
