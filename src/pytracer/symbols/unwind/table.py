"""Build the unwind table of a file from its call frame information.

The file may be anybody's: what is read and kept is bounded and charged to an account, and nonsense raises
ElfError, or ends the stack where the nonsense is.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from pytracer.arrays import Array, np
from pytracer.budget import Account
from pytracer.record import record
from pytracer.symbols.elf_tables import EXECUTABLE, ElfError, Tables
from pytracer.symbols.unwind import columns, entries, programs
from pytracer.symbols.unwind.common_entry import CommonEntry
from pytracer.symbols.unwind.entries import ADDRESS_LIMIT, Entries, FrameSection
from pytracer.symbols.unwind.leb128 import PADDING
from pytracer.symbols.unwind.programs import Programs

ROW = np.dtype([("start", "<u4"), ("cfa_offset", "<u2"), ("rbp", "u1"), ("rule", "u1")])
RBP_SAME, RBP_AT_ITSELF, RBP_LIMIT = 0, 255, 254

_X86_64 = 62  # EM_X86_64
_ROWS_LIMIT = 1 << 23
_MEMORY = 32  # bytes that a row takes while the table is made
_WINDOW = 1 << 19  # bytes of programs that are run together
_RETURN_COLUMN = 16  # rip
_FACTOR_LIMIT = 1 << 12  # of code and data: 1 and -8 on x86-64
_DWARF_RBP, _DWARF_RSP = 6, 7
_IN_PT_REGS = np.array([10, 12, 11, 5, 13, 14, 4, 15, 9, 8, 7, 6, 3, 2, 1, 0])  # by DWARF's number
_GO = b".gopclntab"


class Rule(IntEnum):
    """The rule that finds the CFA of code from a row's ``start`` up to the next row's."""

    END = 0
    """The outermost frame: the return address is undefined (_start, clone's child)."""
    RSP = 1
    """CFA = rsp + 8 * cfa_offset."""
    RBP = 2
    """CFA = rbp + 8 * cfa_offset."""
    DEREF_RBP = 3
    """CFA = *(rbp - 8 * cfa_offset): frames that GCC realigns."""
    SAVED_RSP = 4
    """CFA = *(base + 8 * (cfa_offset >> 1)) + 8, where cfa_offset is signed and base is rbp if it is odd,
    else rsp: assembler code that saves the stack pointer it began with."""
    PLT = 5
    """CFA = rsp + 8 + (8 if (rip & 15) >= cfa_offset else 0): what linkers write for .plt."""
    SIGNAL = 6
    """__restore_rt: registers are in the ucontext at rsp (rbp at 120, rsp at 160, rip at 168)."""
    EXPRESSION = 7
    """No row can say it, or the entry is broken: the stack ends."""
    REGISTER = 8
    """CFA = register + 8 * (cfa_offset >> 4), with cfa_offset & 15 its index in struct pt_regs: r10 as a
    frame is realigned, others in assembler code. Unless it is known, the stack ends."""
    NONE = 9
    """No entry covers this code."""


@record
class UnwindTable:
    """The rows of a file, sorted by ``start``, which counts bytes from ``base`` (an address as the file
    numbers them). The first row's is 0.

    In a row, ``rbp`` is 0 if the caller's RBP is the same, n in 1..254 if it is saved at CFA - 8 * n, 255 if
    it is saved at the address that is in RBP. Memory of the rows is charged to the file's account.
    """

    build_id: str
    base: int
    rows: Array

    @property
    def nbytes(self) -> int:
        """Memory of the rows, in bytes."""
        return int(self.rows.nbytes)


class RowCache(Protocol):
    """Rows that are kept between runs, by the name of a file and a digest of what they are made of."""

    def load(self, name: str, digest: bytes) -> Array | None:
        """Return the rows; None if they are not kept."""

    def store(self, name: str, digest: bytes, rows: Array) -> None:
        """Keep rows."""


def build(tables: Tables, cache: RowCache | None = None) -> UnwindTable:
    """Build the table of an open file, or find it in ``cache``; without call frame information it has one
    row, NONE.

    Raises ElfError, OverBudgetError, or OSError. ``rows`` stay charged.
    """
    with tables.account.timed(), contextlib.ExitStack() as held:
        segments = _code_segments(tables)
        sections = [
            section
            for section in entries.sections(tables, held)
            if section.is_eh_frame or tables.section(_GO) is None  # Go's functions have frame pointers
        ]
        digest = _digest(segments, sections) if cache is not None else b""
        rows = cache.load(_name(tables), digest) if cache is not None else None
        if rows is None:
            rows = _build_rows(sections, segments, tables.account, held)
            if cache is not None:
                cache.store(_name(tables), digest, rows)
    tables.account.charge(memory=rows.nbytes)
    return UnwindTable(tables.build_id(), int(segments[0, 0]), rows)


def _build_rows(
    sections: list[FrameSection], segments: Array, account: Account, held: contextlib.ExitStack
) -> Array:
    base = int(segments[0, 0])
    found = [entries.read(section, account, held) for section in sections]
    chosen, starts, ends = _choose(found, segments)
    gaps = ends[np.append(ends[:-1] != starts[1:], True)[: len(ends)]]
    places = [np.append(0, gaps - base).astype(np.uint32)]
    packed = [np.full(len(gaps) + 1, _pack(Rule.NONE), np.uint32)]
    total = 0
    for one, own_chosen, limits in zip(found, *chosen, strict=True):
        for addresses, values in _run(one, own_chosen, limits, account):
            held.enter_context(account.reserved(memory=_MEMORY * len(values)))
            places.append((addresses - base).astype(np.uint32))
            packed.append(values)
            total += len(values)
            if total > _ROWS_LIMIT:
                raise ElfError("an unwind table is too large to be true")
    return _assemble(np.concatenate(places), np.concatenate(packed))


def _digest(segments: Array, sections: list[FrameSection]) -> bytes:
    """Return a digest of all that rows are made of."""
    digest = hashlib.sha256(segments.tobytes())
    for section in sections:
        digest.update(struct.pack("<QQ?", len(section.data), section.address, section.is_eh_frame))
        digest.update(section.data)
    return digest.digest()


def _name(tables: Tables) -> str:
    return Path(f"/proc/self/fd/{tables.descriptor}").readlink().name


def _code_segments(tables: Tables) -> Array:
    """Return where segments with code begin and end, ascending: int64, shape (n, 2). Raises ElfError."""
    if tables.width != 2 or tables.machine != _X86_64:
        raise ElfError("unwind tables are built for x86-64 programs of 64 bits only")
    loaded = tables.loaded(EXECUTABLE)
    loaded = loaded[loaded["filesz"] > 0]
    if not len(loaded):
        raise ElfError("the file has no segment with code")
    if int(loaded["vaddr"].max()) >= ADDRESS_LIMIT or int(loaded["filesz"].max()) >= ADDRESS_LIMIT:
        raise ElfError("a segment is outside of user space")
    segments = np.stack([loaded["vaddr"], loaded["vaddr"] + loaded["filesz"]], axis=1).astype(np.int64)
    segments = segments[np.argsort(segments[:, 0], kind="stable")]
    segments[:, 1] = np.minimum(segments[:, 1], segments[0, 0] + np.iinfo(np.uint32).max)
    return np.asarray(segments)


def _choose(found: list[Entries], segments: Array) -> tuple[tuple[list[Array], list[Array]], Array, Array]:
    """Choose the entries that count: in code, and of several that begin at one address the longest. Entries
    of .debug_frame fill what .eh_frame does not cover. An entry ends where another begins, as it does for
    those who look entries up by bisection.

    Returns for each section its chosen entries, in the file's order, and their ends; and the starts and ends
    of all, ascending.
    """
    starts = np.concatenate([np.zeros(0, np.int64), *(one.starts for one in found)])
    ends = np.concatenate([np.zeros(0, np.int64), *(one.ends for one in found)])
    origin = np.repeat(np.arange(len(found)), [len(one) for one in found])
    segment = np.maximum(np.searchsorted(segments[:, 0], starts, side="right") - 1, 0)
    ends = np.minimum(ends, segments[segment, 1])
    order = np.lexsort((ends, -origin, starts))
    order = order[(starts[order] >= segments[segment[order], 0]) & (ends[order] > starts[order])]
    if len(found) > 1:
        first = order[origin[order] == 0]
        index = np.searchsorted(starts[first], starts[order], side="right") - 1
        covered = (index >= 0) & (starts[order] < np.append(ends[first], 0)[index])
        order = order[(origin[order] == 0) | ~covered]
    last_of_start = np.append(np.diff(starts[order]) != 0, True)[: len(order)]
    order = order[last_of_start]
    ends[order[:-1]] = np.minimum(ends[order[:-1]], starts[order[1:]])
    chosen, limits = list[Array](), list[Array]()
    begin = 0
    for number, one in enumerate(found):
        mine = np.sort(order[origin[order] == number])
        chosen.append(mine - begin)
        limits.append(ends[mine])
        begin += len(one)
    return (chosen, limits), starts[order], ends[order]


def _run(one: Entries, chosen: Array, limits: Array, account: Account) -> Iterator[tuple[Array, Array]]:
    """Yield the rows of chosen entries: their addresses, and the rest of each row, packed."""
    initial, is_broken = _run_commons(one.commons, account)
    data = np.frombuffer(one.section.data, np.uint8)
    code_factors = np.array([entry.code_factor for entry in one.commons], np.int64)
    data_factors = np.array([entry.data_factor for entry in one.commons], np.int64)
    broken = is_broken[one.common[chosen]]
    yield one.starts[chosen[broken]], np.full(np.count_nonzero(broken), _pack(Rule.EXPRESSION), np.uint32)
    chosen, limits = chosen[~broken], limits[~broken]
    begin = 0
    while begin < len(chosen):
        account.check()
        low = int(one.programs[chosen[begin]]) - 1
        end = int(np.searchsorted(one.limits[chosen], low + _WINDOW))
        end = max(end, begin + 1)
        window, window_limits = chosen[begin:end], limits[begin:end]
        begin = end
        common = one.common[window]
        rows = programs.run(
            Programs(
                data[low : int(one.limits[window[-1]]) + PADDING],
                one.programs[window] - low,
                one.limits[window] - low,
                code_factors[common],
                data_factors[common],
                initial[:, common],
            ),
            account,
        )
        addresses = one.starts[window][rows.programs] + rows.distances
        sound = (addresses < window_limits[rows.programs]) & ~rows.broken[rows.programs]
        yield addresses[sound], _encode(rows.columns[:, sound])
        failed = np.flatnonzero(rows.broken)
        yield one.starts[window[failed]], np.full(len(failed), _pack(Rule.EXPRESSION), np.uint32)


def _run_commons(commons: list[CommonEntry], account: Account) -> tuple[Array, Array]:
    """Return what columns hold behind the programs of common entries, and which of these are broken."""
    gap = bytes(2)
    buffer = gap + gap.join([entry.program for entry in commons]) + bytes(PADDING)
    sizes = np.array([len(entry.program) for entry in commons], np.int64)
    starts = np.cumsum(sizes + len(gap)) - sizes
    initial = np.zeros((columns.COLUMNS, len(commons)), np.int64)
    initial[columns.CFA_REGISTER] = columns.expression(columns.OTHER)
    initial[columns.RETURN] = columns.ELSEWHERE
    is_broken = np.array(
        [
            entry.return_column != _RETURN_COLUMN
            or entry.code_factor > _FACTOR_LIMIT
            or abs(entry.data_factor) > _FACTOR_LIMIT
            for entry in commons
        ],
        bool,
    )
    if not len(commons):
        return initial, is_broken
    factors = np.where(is_broken, 1, [min(entry.code_factor, 1 << 30) for entry in commons])
    data_factors = np.array(
        [0 if bad else entry.data_factor for bad, entry in zip(is_broken, commons, strict=True)], np.int64
    )
    rows = programs.run(
        Programs(np.frombuffer(buffer, np.uint8), starts, starts + sizes, factors, data_factors, initial),
        account,
    )
    initial[:, rows.programs[rows.is_last]] = rows.columns[:, rows.is_last]
    return initial, is_broken | rows.broken


def _encode(values: Array) -> Array:
    """Return rows, packed without their start, for what is in the columns."""
    register, offset, rbp, return_address, rsp = values
    kind, number = columns.split_expressions(register)
    offset = np.where(kind == columns.DEREF_RBP, number, offset)
    words = offset >> 3
    fits = (offset & 7 == 0) & (words >= 0) & (words < 1 << 16)
    in_register = (kind == 0) & (register < len(_IN_PT_REGS)) & fits & (words < 1 << 12)
    rule = np.where(in_register, Rule.REGISTER, Rule.EXPRESSION)
    words_in_register = words << 4 | _IN_PT_REGS[np.where(in_register, register, 0)]
    for chosen, meaning in (
        (register == _DWARF_RSP, Rule.RSP),
        (register == _DWARF_RBP, Rule.RBP),
        (kind == columns.DEREF_RBP, Rule.DEREF_RBP),
    ):
        rule[chosen] = np.where(fits[chosen], meaning, Rule.EXPRESSION)
    words = np.where(rule == Rule.REGISTER, words_in_register, words)
    plt = np.flatnonzero(kind == columns.PLT)
    rule[plt], words[plt] = Rule.PLT, number[plt]
    saved_rsp = np.flatnonzero(kind == columns.SAVED_RSP)
    rule[saved_rsp] = Rule.SAVED_RSP
    words[saved_rsp] = (number[saved_rsp] - 2 * columns.SAVED_LIMIT) & 0xFFFF
    saved = -rbp >> 3
    has_place = (rbp < 0) & (rbp & 7 == 0) & (saved <= RBP_LIMIT)
    saved = np.where(has_place, saved, np.where(rbp == columns.AT_RBP, RBP_AT_ITSELF, RBP_SAME))
    is_plain = has_place | (rbp == columns.SAME) | (rbp == columns.UNDEFINED) | (rbp == columns.AT_RBP)
    is_plain &= (return_address == -8) & (rsp == columns.SAME)
    rule[~is_plain] = Rule.EXPRESSION
    in_context = kind == columns.SIGNAL_CFA
    for place in (rbp, return_address, rsp):
        in_context = in_context & (place == columns.IN_CONTEXT)
    rule[in_context] = Rule.SIGNAL
    rule[return_address == columns.UNDEFINED] = Rule.END
    has_operands = (rule >= Rule.RSP) & (rule <= Rule.PLT) | (rule == Rule.REGISTER)
    return np.where(has_operands, words | saved << 16, 0).astype(np.uint32) | rule.astype(np.uint32) << 24


def _pack(rule: Rule) -> int:
    return rule << 24


def _assemble(starts: Array, packed: Array) -> Array:
    """Sort rows, and leave out those that say what the one before says. The first, at 0, gives way to
    another there."""
    order = np.argsort(starts, kind="stable")
    starts, packed = starts[order], packed[order]
    differs = np.append(starts[1:] != starts[:-1], True)
    starts, packed = starts[differs], packed[differs]
    differs = np.append(True, packed[1:] != packed[:-1])
    rows = np.empty((np.count_nonzero(differs), 2), "<u4")
    rows[:, 0], rows[:, 1] = starts[differs], packed[differs]
    return rows.view(ROW)[:, 0]
