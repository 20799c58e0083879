"""Read call frame information (.eh_frame): bounds of functions, and the depth of their stack.

Compilers write it for every function, since exceptions unwind by it, and it stays in stripped files. Of a
large file only the sorted table (.eh_frame_hdr) and the entries that are asked for are read.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable

from pytracer.arrays import Array, np
from pytracer.record import record
from pytracer.symbols.code.cursor import Cursor
from pytracer.symbols.elf_tables import EH_FRAME, TABLE_LIMIT, ElfError, Tables
from pytracer.symbols.unwind import common_entry, eh_frame_header
from pytracer.symbols.unwind.common_entry import CommonEntry
from pytracer.symbols.unwind.instructions import OPERANDS

_ENTRY_LIMIT = 1 << 16  # bytes of one entry
_CALL_SITES_LIMIT = 1 << 20  # bytes of a function's table of landing pads
_ROWS_LIMIT = 1 << 16
_STACK_POINTER = {4: 4, 8: 7}  # DWARF's number for it, by the bytes of a word


@record
class Frame:
    """The entry (FDE) for a piece of code, from address ``start`` up to, not including, ``end``.

    ``lsda`` is the address of its table of landing pads, 0 if it has none. Each row of ``rows`` says, from
    an address on, how many bytes the stack pointer is below its value at the function's first instruction;
    None if another register defines the frame.
    """

    start: int
    end: int
    lsda: int
    lsda_encoding: int
    rows: tuple[tuple[int, int | None], ...]

    def depth(self, address: int) -> int | None:
        """Return by how many bytes the stack has grown before the instruction at an address; None if
        unknown."""
        index = bisect.bisect_right(self.rows, address, key=lambda row: row[0]) - 1
        return self.rows[index][1] if index >= 0 else None


class Frames:
    """The call frame information of a file. ``read(address, size)`` returns loaded bytes, possibly fewer."""

    def __init__(self, tables: Tables, read_memory: Callable[[int, int], bytes]) -> None:
        self._tables = tables
        self._read = read_memory
        self._word = 8 if tables.width == 2 else 4
        self._known = dict[int, Frame | None]()
        self._shared = dict[int, CommonEntry]()

    def find(self, address: int) -> Frame | None:
        """Find the entry that covers an address; None if no entry does. Raises ElfError."""
        starts, entries = self._index
        index = int(np.searchsorted(starts, address, side="right")) - 1
        if index < 0:
            return None
        entry = int(entries[index])
        if entry not in self._known:
            self._known[entry] = self._parse(entry)
        frame = self._known[entry]
        return frame if frame is not None and frame.start <= address < frame.end else None

    def landing_pads(self, frame: Frame) -> tuple[int, ...]:
        """Return the addresses at which exceptions enter the function again. Raises ElfError."""
        if not frame.lsda:
            return ()
        cursor = Cursor(self._read(frame.lsda, _CALL_SITES_LIMIT), frame.lsda)
        base = cursor.pointer(cursor.number(1), self._word)
        base = frame.start if base is None else base
        if cursor.number(1) != 0xFF:
            cursor.uleb()  # where the table of types is
        encoding = cursor.number(1)
        size = cursor.uleb()
        end = cursor.position + size
        pads = set[int]()
        while cursor.position < end:
            for _ in range(2):  # the code that may throw: start, length
                cursor.pointer(encoding & 0xF, self._word)
            pad = cursor.pointer(encoding & 0xF, self._word)
            cursor.uleb()
            if pad:
                pads.add(base + pad)
        return tuple(sorted(pads))

    @functools.cached_property
    def _index(self) -> tuple[Array, Array]:
        """The first addresses of all entries, ascending, and the addresses of the entries."""
        segments = self._tables.segments
        for segment in segments[segments["type"] == EH_FRAME]:
            address, size = int(segment["vaddr"]), int(segment["filesz"])
            if not 12 <= size <= TABLE_LIMIT:
                continue
            cursor = Cursor(self._read(address, size), address)
            header = eh_frame_header.parse(cursor, self._word)
            if header is None or header.entries is None:
                continue
            raw = cursor.data[cursor.position : cursor.position + 8 * header.entries]
            pairs = np.frombuffer(raw[: len(raw) // 8 * 8], "i4").reshape(-1, 2).astype(np.int64) + address
            return pairs[:, 0], pairs[:, 1]
        return self._by_section()

    def _by_section(self) -> tuple[Array, Array]:
        """Build the index from the section alone, for files whose linker made no table."""
        section = self._tables.section(b".eh_frame")
        frames = list[tuple[int, int]]()
        if section is not None:
            address, size = int(section["addr"]), int(section["size"])
            cursor = Cursor(self._tables.content(section), address)
            while cursor.position + 8 <= size:
                entry, length = cursor.here, cursor.number(4)
                if not length or length >= 0xFFFFFFF0:
                    break
                following = cursor.position + length
                if cursor.number(4):
                    frame = self._parse(entry)
                    if frame is not None:
                        frames.append((frame.start, entry))
                cursor.position = following
        pairs = np.array(sorted(frames), np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def _entry(self, address: int) -> Cursor:
        """Return a cursor over the body of an entry, behind its length field."""
        head = Cursor(self._read(address, 12), address)
        size = head.number(4)
        if size == 0xFFFFFFFF:
            size = head.number(8)
        if not 4 <= size <= _ENTRY_LIMIT:
            raise ElfError("call frame information has an entry that is too large to be true")
        return Cursor(self._read(head.here, size), head.here)

    def _parse(self, address: int) -> Frame | None:
        cursor = self._entry(address)
        pointer_at, distance = cursor.here, cursor.number(4)
        if not distance:
            return None
        common = self._common(pointer_at - distance)
        start = cursor.pointer(common.pointers, self._word)
        size = cursor.pointer(common.pointers & 0xF, self._word)
        if not start or not size:
            return None
        lsda = 0
        if common.augmented:
            length = cursor.uleb()
            follows = cursor.position + length
            if common.lsda != 0xFF:
                lsda = cursor.pointer(common.lsda, self._word) or 0
            cursor.position = follows
        rows = _run_program(common, start, cursor.data[cursor.position :], self._word)
        return Frame(start, start + size, lsda, common.lsda, rows)

    def _common(self, address: int) -> CommonEntry:
        """Read the CIE that entries share."""
        if address not in self._shared:
            self._shared[address] = self._parse_common(address)
        return self._shared[address]

    def _parse_common(self, address: int) -> CommonEntry:
        cursor = self._entry(address)
        if cursor.number(4) != 0:
            raise ElfError("call frame information has an entry that belongs to none")
        return common_entry.parse(cursor, self._word)


def _run_program(
    common: CommonEntry, start: int, program: bytes, word: int
) -> tuple[tuple[int, int | None], ...]:
    """Run the program of an entry behind that of its common one, for the CFA alone."""
    register, offset = -1, 0
    saved = list[tuple[int, int]]()
    rows = list[tuple[int, int | None]]()
    address = start

    def note() -> None:
        depth = offset - word if register == _STACK_POINTER[word] else None
        if rows and rows[-1][0] == address:
            rows.pop()
        if not rows or rows[-1][1] != depth:
            rows.append((address, depth))
        if len(rows) > _ROWS_LIMIT or len(saved) > _ROWS_LIMIT:
            raise ElfError("call frame information is too large to be true")

    for code in (common.program, program):
        cursor = Cursor(code, 0)
        while cursor.position < len(code):
            byte = cursor.number(1)
            high, low = byte & 0xC0, byte & 0x3F
            advance = 0
            if high == 0x40:
                advance = low * common.code_factor
            elif high == 0x80:
                cursor.uleb()
            elif high == 0xC0:
                pass
            elif low == 0x01:
                advance = (cursor.pointer(common.pointers, word) or address) - address
            elif low in (0x02, 0x03, 0x04):
                advance = cursor.number(1 << (low - 2)) * common.code_factor
            elif low == 0x0A:
                saved.append((register, offset))
            elif low == 0x0B:
                if not saved:
                    raise ElfError("call frame information restores a state that it has not saved")
                register, offset = saved.pop()
                note()
            elif low in (0x0C, 0x12):  # def_cfa, def_cfa_sf
                register = cursor.uleb()
                offset = cursor.uleb() if low == 0x0C else cursor.sleb() * common.data_factor
                note()
            elif low == 0x0D:
                register = cursor.uleb()
                note()
            elif low in (0x0E, 0x13):
                offset = cursor.uleb() if low == 0x0E else cursor.sleb() * common.data_factor
                note()
            elif low in OPERANDS:
                for operand in OPERANDS[low]:
                    if operand == "b":
                        cursor.take(cursor.uleb())
                    else:
                        cursor.uleb()  # signed ones are as long
                if low == 0x0F:  # by an expression
                    register = -1
                    note()
            else:
                raise ElfError(f"call frame information has an unknown instruction {byte:#x}")
            if advance:
                note()
                address += advance
                note()
    return tuple(rows)
