"""Run call frame programs, all of a file at once.

Where the instructions of each program begin is found in lockstep: one step goes to the next instruction of
every program. Then each thing that instructions write (a column) is, at a row, what the last instruction
before it wrote, which is computed for all instructions together.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from pytracer.arrays import Array, np
from pytracer.budget import Account
from pytracer.record import record
from pytracer.symbols.unwind import columns
from pytracer.symbols.unwind.columns import (
    BY_REGISTER,
    CFA_OFFSET,
    CFA_REGISTER,
    COLUMNS,
    ELSEWHERE,
    RSP,
    SAME,
    UNDEFINED,
)
from pytracer.symbols.unwind.instructions import OPERANDS, PRIMARY_OPERANDS
from pytracer.symbols.unwind.leb128 import PADDING, read_uleb

_FEW = 64  # programs, below which each is walked by itself
_STEPS = 256  # between looks at the clock
_BLOCK = 16  # bytes of the longest expression that there is a rule for

_REMEMBER, _RESTORE_STATE = 0x0A, 0x0B
_ADVANCE, _OFFSET, _RESTORE = 0x40, 0x80, 0xC0  # primary opcodes
_NO_OPERATION = 0


def _describe_opcodes() -> Iterator[tuple[int, str | None]]:
    """Yield each opcode and its operands; None if it is unknown."""
    for opcode in range(256):
        primary = opcode & 0xC0
        yield opcode, PRIMARY_OPERANDS[primary] if primary else OPERANDS.get(opcode)


_NUMBERS_OF = {"u": 1, "s": 1, "uu": 3, "us": 3, "b": 5, "ub": 7}
_NUMBERS = np.array([_NUMBERS_OF.get(operands or "", 0) for _, operands in _describe_opcodes()], np.uint8)
"""By opcode: 1 if a LEB128 number follows, 2 if another does, 4 if the last is the length of a block."""
_FIXED = np.array(
    [1 + int((operands or "0").strip("usbp") or 0) for _, operands in _describe_opcodes()], np.uint8
)
"""By opcode: the bytes of an instruction without such numbers."""
_IS_UNKNOWN = np.array([operands in (None, "p") for _, operands in _describe_opcodes()])
"""By opcode: none of x86-64, or DW_CFA_set_loc, which no compiler writes."""


@record
class Programs:
    """Programs in one buffer (uint8, ends with PADDING), at ``starts`` up to ``ends``, ascending and with a
    byte or more between them. Factors are of the common entries; ``initial`` is what columns begin with
    (int64, shape (COLUMNS, n))."""

    code: Array
    starts: Array
    ends: Array
    code_factors: Array
    data_factors: Array
    initial: Array


@record
class Rows:
    """The rows of programs: of which each is, how far behind the program's first address it begins, what is
    in its columns (shape (COLUMNS, n)), and whether it is the program's last. ``broken``: programs that
    cannot be run (booleans)."""

    programs: Array
    distances: Array
    columns: Array
    is_last: Array
    broken: Array


def run(programs: Programs, account: Account) -> Rows:
    """Run programs; the caller bounds their bytes. Raises OverBudgetError."""
    code, starts, ends = programs.code, programs.starts, programs.ends
    following = _find_following(code)
    begins = _mark_instructions(following, starts, ends, account)
    # Each program begins with one instruction more, which writes what columns begin with, and ends with one
    # that does nothing. Both are in the bytes between programs.
    begins[starts - 1] = begins[ends] = True
    places = np.flatnonzero(begins)
    opcodes = code[places]
    first, last = np.searchsorted(places, starts - 1), np.searchsorted(places, ends)
    opcodes[first] = opcodes[last] = _NO_OPERATION
    number = np.repeat(np.arange(len(starts)), last - first + 1)

    broken = (starts < ends) & (following[places[last - 1]] != ends)
    broken[number[_IS_UNKNOWN[opcodes]]] = True
    account.check()

    deltas = _read_advances(code, places, opcodes)
    deltas *= programs.code_factors[number]
    distances = np.cumsum(deltas) - deltas
    emitting = deltas > 0
    emitting[last] = True
    rows = np.flatnonzero(emitting)

    restores, remembers = _match_states(opcodes, number, first, broken)
    state = _State(programs, places, opcodes, number, first, restores, remembers)
    values = state.columns(rows, account)
    of_program = number[rows]
    is_last = np.zeros(len(rows), bool)
    is_last[np.searchsorted(rows, last)] = True
    return Rows(of_program, distances[rows] - distances[first][of_program], values, is_last, broken)


def _find_following(code: Array) -> Array:
    """Return, for each byte, where the next instruction begins if one begins there (int32)."""
    size = len(code)
    everywhere = np.arange(size, dtype=np.int32)
    # Where a LEB128 number that begins at a byte ends, exclusive; the padding ends the last.
    number_ends = np.where(code < 0x80, everywhere + 1, size).astype(np.int32)
    number_ends = np.minimum.accumulate(number_ends[::-1])[::-1]
    following = everywhere + _FIXED[code]
    has_numbers = np.flatnonzero(_NUMBERS[code[: size - PADDING]])
    kinds = _NUMBERS[code[has_numbers]]
    ends = number_ends[has_numbers + 1]
    two = np.flatnonzero(kinds & 2)
    ends[two] = number_ends[np.minimum(ends[two], size - 1)]
    following[has_numbers] = ends
    blocks = np.flatnonzero(kinds & 4)
    at = has_numbers[blocks] + 1
    with_register = kinds[blocks] & 2 != 0
    at[with_register] = number_ends[at[with_register]]
    lengths, _ = read_uleb(code, np.minimum(at, size - 1))
    following[has_numbers[blocks]] = np.minimum(ends[blocks] + lengths, size)
    return following


def _mark_instructions(following: Array, starts: Array, ends: Array, account: Account) -> Array:
    """Return at which bytes an instruction begins: booleans."""
    begins = np.zeros(len(following), bool)
    filled = starts < ends
    current, limits = starts[filled], ends[filled]
    step = 0
    while len(current) > _FEW:
        begins[current] = True
        current = following[current]
        inside = current < limits
        if not inside.all():
            current, limits = current[inside], limits[inside]
        step += 1
        if step % _STEPS == 0:
            account.check()
    for place, limit in zip(current.tolist(), limits.tolist(), strict=True):
        account.check()
        lengths = (following[place:limit] - place).tolist()
        position, marks = 0, list[int]()
        while position < limit - place:
            marks.append(position)
            position = lengths[position]
        begins[np.array(marks, np.int64) + place] = True
    return begins


def _read_advances(code: Array, places: Array, opcodes: Array) -> Array:
    """Return by how many units of code each instruction advances (int64)."""
    deltas = np.where(opcodes & 0xC0 == _ADVANCE, opcodes & 0x3F, 0).astype(np.int64)
    for opcode, size in ((0x02, 1), (0x03, 2), (0x04, 4)):
        chosen = np.flatnonzero(opcodes == opcode)
        for byte in range(size):
            deltas[chosen] |= code[np.minimum(places[chosen] + 1 + byte, len(code) - 1)].astype(np.int64) << (
                8 * byte
            )
    return deltas


def _match_states(opcodes: Array, number: Array, first: Array, broken: Array) -> tuple[Array, Array]:
    """Return the instructions that restore a state, ascending, and those that each one's was remembered at.

    Programs that restore more than they remember are marked as broken.
    """
    events = np.flatnonzero((opcodes == _REMEMBER) | (opcodes == _RESTORE_STATE))
    if not len(events):
        return events, events
    is_restore = opcodes[events] == _RESTORE_STATE
    of_program = number[events]
    depth = np.cumsum(np.where(is_restore, -1, 1))
    begin = np.searchsorted(events, first)[of_program]  # the first event of the same program
    depth -= np.where(begin > 0, depth[begin - 1], 0)
    broken[of_program[depth < 0]] = True
    sound = ~broken[of_program]
    events, is_restore, of_program = events[sound], is_restore[sound], of_program[sound]
    level = depth[sound] + is_restore  # how many are remembered between the two of a pair
    order = np.lexsort((level, of_program))  # stable: of each level, they take turns
    closing = np.flatnonzero(is_restore[order])
    restores, remembers = events[order[closing]], events[order[closing - 1]]
    ascending = np.argsort(restores)
    return restores[ascending], remembers[ascending]


@functools.cache
def _opcode_set(opcodes: tuple[int, ...]) -> Array:
    """Return whether each opcode is one of these."""
    return np.isin(np.arange(256), opcodes)


class _State:
    """The values that instructions write into columns."""

    def __init__(
        self,
        programs: Programs,
        places: Array,
        opcodes: Array,
        number: Array,
        first: Array,
        restores: Array,
        remembers: Array,
    ) -> None:
        self._programs, self._places, self._opcodes, self._number = programs, places, opcodes, number
        self._first, self._restores, self._remembers = first, restores, remembers
        self._writes: list[list[tuple[Array, Array]]] = [[] for _ in range(COLUMNS)]
        self._counts = np.bincount(opcodes, minlength=256)
        self._read_cfa()
        self._read_registers()

    def columns(self, rows: Array, account: Account) -> Array:
        """Return what is in each column at some instructions, before them (int64, shape (COLUMNS, n))."""
        initial = self._programs.initial
        result = np.empty((COLUMNS, len(rows)), np.int64)
        for column, writes in enumerate(self._writes):
            account.check()
            if not writes:
                result[column] = initial[column][self._number[rows]]
                continue
            writers = np.zeros(len(self._opcodes), np.int32)
            values = np.zeros(len(self._opcodes), np.int64)
            for instructions, written in [(self._first, initial[column]), *writes]:
                writers[instructions] = instructions
                values[instructions] = written
            writers[self._restores] = self._restores
            last = np.maximum.accumulate(writers)
            self._restore(values, last)
            result[column] = values[last[rows]]
        return result

    def _restore(self, values: Array, last: Array) -> None:
        """Give each instruction that restores a state the value that was remembered, which may have been
        restored in turn."""
        restores, sources = self._restores, last[self._remembers]
        while len(restores):
            index = np.minimum(np.searchsorted(restores, sources), len(restores) - 1)
            again = restores[index] == sources
            if not again.any():
                break
            sources = np.where(again, sources[index], sources)
        values[restores] = values[sources]

    def _find(self, *opcodes: int) -> Array:
        if not self._counts[list(opcodes)].any():
            return np.zeros(0, np.intp)
        return np.flatnonzero(_opcode_set(opcodes)[self._opcodes])

    def _write(self, column: int, instructions: Array, values: Array | int) -> None:
        if len(instructions):
            self._writes[column].append((instructions, np.asarray(values)))

    def _read_cfa(self) -> None:
        code, places = self._programs.code, self._places
        found = self._find(0x0C, 0x12)  # def_cfa, def_cfa_sf
        registers, after = read_uleb(code, places[found] + 1)
        self._write(CFA_REGISTER, found, registers)
        for opcode, is_signed in ((0x0C, False), (0x12, True)):
            is_this = self._opcodes[found] == opcode
            self._write_offsets(found[is_this], after[is_this], is_signed=is_signed)
        found = self._find(0x0D)  # def_cfa_register
        self._write(CFA_REGISTER, found, read_uleb(code, places[found] + 1)[0])
        for opcode in (0x0E, 0x13):  # def_cfa_offset, def_cfa_offset_sf
            found = self._find(opcode)
            self._write_offsets(found, places[found] + 1, is_signed=opcode == 0x13)
        found = self._find(0x0F)  # def_cfa_expression
        parsed = [columns.parse_cfa(block) for block in self._blocks(places[found] + 1)]
        self._write(CFA_REGISTER, found, np.array(parsed, np.int64))

    def _write_offsets(self, found: Array, at: Array, *, is_signed: bool) -> None:
        values, _ = read_uleb(self._programs.code, at, is_signed=is_signed)
        if is_signed:
            values = values * self._programs.data_factors[self._number[found]]
        self._write(CFA_OFFSET, found, values)

    def _read_registers(self) -> None:
        code, places = self._programs.code, self._places
        for register, column in BY_REGISTER.items():
            initial = self._programs.initial[column]
            found = self._find(_OFFSET | register)
            self._write_places(column, found, places[found] + 1)
            found = self._find(_RESTORE | register)
            self._write(column, found, initial[self._number[found]])
        found = self._find(0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11, 0x14, 0x15, 0x16, 0x2F)
        registers, after = read_uleb(code, places[found] + 1)
        for register, column in BY_REGISTER.items():
            chosen = registers == register
            self._read_extended(column, found[chosen], after[chosen])

    def _read_extended(self, column: int, found: Array, after: Array) -> None:
        """Read the instructions that have the register as an operand; the next one is at ``after``."""
        opcodes = self._opcodes[found]

        def where(*wanted: int) -> tuple[Array, Array]:
            chosen = np.isin(opcodes, wanted)
            return found[chosen], after[chosen]

        self._write_places(column, *where(0x05))  # offset_extended
        self._write_places(column, *where(0x11), is_signed=True)  # offset_extended_sf
        self._write_places(column, *where(0x2F), sign=-1)  # GNU_negative_offset_extended
        restored, _ = where(0x06)  # restore_extended
        self._write(column, restored, self._programs.initial[column][self._number[restored]])
        self._write(column, where(0x07)[0], UNDEFINED)
        self._write(column, where(0x08)[0], ELSEWHERE if column == RSP else SAME)  # same_value
        self._write(column, where(0x09, 0x16)[0], ELSEWHERE)  # register, val_expression
        for opcode in (0x14, 0x15):  # val_offset, val_offset_sf
            found_here, at = where(opcode)
            values, _ = read_uleb(self._programs.code, at, is_signed=opcode == 0x15)
            is_cfa = (values == 0) & (column == RSP)  # what RSP is without any rule
            self._write(column, found_here, np.where(is_cfa, SAME, ELSEWHERE))
        found_here, at = where(0x10)  # expression
        rules = [columns.parse_place(column, block) for block in self._blocks(at)]
        self._write(column, found_here, np.array(rules, np.int64))

    def _write_places(
        self, column: int, found: Array, at: Array, *, is_signed: bool = False, sign: int = 1
    ) -> None:
        """Write that a register is saved at CFA + an operand times the factor of its program."""
        values, _ = read_uleb(self._programs.code, at, is_signed=is_signed)
        values = values * self._programs.data_factors[self._number[found]] * sign
        self._write(column, found, np.where(values < 0, values, ELSEWHERE))

    def _blocks(self, at: Array) -> list[bytes]:
        """Return the expressions at some places; empty if there is certainly no rule for one."""
        lengths, begins = read_uleb(self._programs.code, at)
        return [
            self._programs.code[begin : begin + length].tobytes() if length <= _BLOCK else b""
            for begin, length in zip(begins.tolist(), lengths.tolist(), strict=True)
        ]
