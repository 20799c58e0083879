"""Find the targets of indirect jumps through jump tables."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Iterable, Sequence

from pytracer.record import record
from pytracer.symbols.code.code_file import ProgramImage
from pytracer.symbols.code.instructions import BRANCH, FAR, JUMP, RETURN, STOP, Instruction, kind
from pytracer.symbols.code.registers import PATTERN, family, is_one

_BACK = 48  # instructions before the jump that are looked at
_ENTRIES_LIMIT = 1 << 14
_SCALED = re.compile(
    rf"(?:\w+ ptr )?\[(?:({PATTERN}) \+ )?({PATTERN})\*([48])(?: ([+-]) (0x[0-9a-f]+|\d+))?\]"
)
_SUM = re.compile(rf"\[({PATTERN}) \+ ({PATTERN})\]")
_RIP = re.compile(r"\[rip(?: ([+-]) (0x[0-9a-f]+|\d+))?\]")
_COMPARED = re.compile(rf"({PATTERN}), (0x[0-9a-f]+|\d+)")
_READERS = ("cmp", "test", "push")
_MOVES = ("mov", "movzx", "movsx", "movsxd")
_ABOVE = ("ja", "jae", "jbe", "jb")
_PrecedingCode = list[tuple[int, Instruction]]
_Scaled = tuple[str | None, str, int, int]


@record
class JumpTable:
    """The targets of a jump table. If ``is_bounded``, a comparison before the jump limits the number of
    entries; otherwise ``targets`` are the entries up to the first that leads outside of the function, and
    may be too many. ``table`` is the table's address, ``size`` its length in bytes."""

    targets: tuple[int, ...] = ()
    is_bounded: bool = False
    table: int = 0
    size: int = 0


UNKNOWN = JumpTable()
"""Leads into the function, to unknown targets."""


def find(
    image: ProgramImage,
    code: dict[int, Instruction],
    order: Sequence[int],
    position: int,
    is_inside: Callable[[int], bool],
) -> JumpTable | None:
    """Find the jump table that the jump ``order[place]`` uses; None if no table is recognized.

    ``order`` are the addresses in ``code`` ascending; ``is_inside`` returns whether a target is in the
    function.
    """
    preceding = _collect_preceding(code, order, position)
    operands = code[order[position]][2]
    scaled = _parse_scaled(operands)
    if scaled is not None:
        return _read_pointers(image, preceding, scaled, is_inside)
    if not is_one(operands):
        return None
    registers = {family(operands)}
    is_sum = False
    for address, (size, mnemonic, text) in preceding:
        first, _, second = text.partition(", ")
        if mnemonic in _READERS or not is_one(first) or family(first) not in registers:
            continue
        earlier_code = [entry for entry in preceding if entry[0] < address]
        scaled = _parse_scaled(second)
        total = _SUM.fullmatch(second) if mnemonic == "lea" else None
        if not is_sum and (total or (mnemonic == "add" and is_one(second))):
            registers = {family(entry) for entry in (total.groups() if total else (first, second))}
            is_sum = True
        elif not is_sum:
            return (
                _read_pointers(image, earlier_code, scaled, is_inside)
                if mnemonic == "mov" and scaled
                else None
            )
        elif scaled is not None and mnemonic == "movsxd":
            return _read_distances(image, earlier_code, scaled, is_inside)
        elif mnemonic == "lea":
            start = _compute_address(address, size, second)
            if start is not None and is_inside(start):  # a computed place among equal pieces of code
                return UNKNOWN
    return None


def _read_pointers(
    image: ProgramImage, preceding: _PrecedingCode, scaled: _Scaled, is_inside: Callable[[int], bool]
) -> JumpTable | None:
    """Read a table of addresses."""
    base, index, scale, displacement = scaled
    start = displacement if base is None else _find_constant(preceding, base, displacement)
    if scale != image.word or start is None:
        return None
    entries = (image.pointer(start + number * scale) for number in range(_ENTRIES_LIMIT))
    return _read_table(entries, start, scale, _find_bound(preceding, index), is_inside)


def _read_distances(
    image: ProgramImage, preceding: _PrecedingCode, scaled: _Scaled, is_inside: Callable[[int], bool]
) -> JumpTable | None:
    """Read a table of distances from itself. Compilers never store the addresses of functions in this
    form."""
    base, index, scale, displacement = scaled
    start = None if base is None else _find_constant(preceding, base, displacement)
    if scale != 4 or start is None:
        return UNKNOWN if scale == 4 else None
    count = _find_bound(preceding, index)
    raw = image.read(start, 4 * min(count or _ENTRIES_LIMIT, _ENTRIES_LIMIT))
    entries = (
        start - displacement + distance for (distance,) in struct.iter_unpack("<i", raw[: len(raw) & ~3])
    )
    return _read_table(entries, start, 4, count, is_inside)


def _read_table(
    entries: Iterable[int], start: int, size: int, count: int, is_inside: Callable[[int], bool]
) -> JumpTable | None:
    """Read a table to its end or, if that is unknown, as far as its entries are plausible."""
    targets = list(itertools.takewhile(is_inside, itertools.islice(entries, count or None)))
    if not targets:
        return None
    return JumpTable(tuple(targets), 0 < count == len(targets), start, len(targets) * size)


def _collect_preceding(code: dict[int, Instruction], order: Sequence[int], position: int) -> _PrecedingCode:
    """Return the instructions that lead to a jump, back to the last that does not fall through, last
    first."""
    code_before = []
    for index in range(position - 1, max(position - _BACK, -1), -1):
        address = order[index]
        if address + code[address][0] != order[index + 1] or kind(code[address][1]) in (
            RETURN,
            JUMP,
            STOP,
            FAR,
        ):
            break
        code_before.append((address, code[address]))
    return code_before


def _parse_scaled(operands: str) -> _Scaled | None:
    """Return base, index, scale, displacement of a memory operand with an index."""
    match = _SCALED.fullmatch(operands)
    if match is None:
        return None
    displacement = int(match[5] or "0", 0) * (-1 if match[4] == "-" else 1)
    return match[1] and family(match[1]), family(match[2]), int(match[3]), displacement


def _find_constant(preceding: _PrecedingCode, register: str, displacement: int) -> int | None:
    """Return a register's value plus a displacement, if a ``lea`` of an address wrote the register last."""
    for address, (size, mnemonic, text) in preceding:
        first, _, second = text.partition(", ")
        if mnemonic not in _READERS and is_one(first) and family(first) == register:
            start = _compute_address(address, size, second) if mnemonic == "lea" else None
            return None if start is None else start + displacement
    return None


def _compute_address(address: int, size: int, operand: str) -> int | None:
    """Return the address that a memory operand means which counts from the instruction; None of another."""
    match = _RIP.fullmatch(operand)
    return match and address + size + int(match[2] or "0", 0) * (-1 if match[1] == "-" else 1)


def _find_bound(preceding: _PrecedingCode, index: str) -> int:
    """Return the number of entries that the comparison of an index before the jump allows; 0 if none is
    found."""
    names, limit = {index}, ""
    for _, (_, mnemonic, text) in preceding:
        first, _, second = text.partition(", ")
        if kind(mnemonic) == BRANCH:
            limit = mnemonic
        if not is_one(first) or family(first) not in names:
            continue
        comparison = _COMPARED.fullmatch(text)
        if mnemonic == "cmp" and limit in _ABOVE and comparison:
            return int(comparison[2], 0) + (limit in ("ja", "jbe"))
        if mnemonic == "and" and comparison:
            return int(comparison[2], 0) + 1
        if mnemonic in _MOVES and is_one(second):
            names.add(family(second))
        elif mnemonic not in _READERS:
            return 0
    return 0
