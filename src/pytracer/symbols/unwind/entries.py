"""Find the entries (FDE) of a file's call frame information: what code each covers, and its program."""

from __future__ import annotations

import array
import contextlib
import struct
import zlib
from collections.abc import Iterator

from pytracer.arrays import Array, np
from pytracer.budget import Account
from pytracer.record import record
from pytracer.symbols.code.cursor import Cursor
from pytracer.symbols.elf_tables import EH_FRAME, LOAD, TABLE_LIMIT, ElfError, Tables, content
from pytracer.symbols.unwind import common_entry, eh_frame_header
from pytracer.symbols.unwind.common_entry import CommonEntry
from pytracer.symbols.unwind.leb128 import PADDING, read_uleb

_WORD = 8
_HEADER = 32  # bytes of .eh_frame_hdr before its table
_PACKED, _ZLIB = 1 << 11, 1  # SHF_COMPRESSED, ELFCOMPRESS_ZLIB
_PACKED_HEADER = struct.Struct("<IIQQ")  # Elf64_Chdr: kind, reserved, size, alignment
_EXTENDED = 0xFFFFFFFF  # a length of 64 bits follows
ADDRESS_LIMIT = 1 << 47  # of user space
_ENTRY_LIMIT = 1 << 20  # bytes of one entry
_ENTRIES_LIMIT, _COMMONS_LIMIT = 1 << 22, 1 << 18
_MEMORY = 100  # bytes that an entry is kept in
_FAR = 1 << 40  # bytes: more than any function has
_CHECKED = 4096  # entries, between looks at the clock
# DW_EH_PE_*: the formats of pointers, as bytes and whether they are signed. 8 bytes are read as if they were.
_FORMATS = {
    0: (8, True),
    2: (2, False),
    3: (4, False),
    4: (8, True),
    10: (2, True),
    11: (4, True),
    12: (8, True),
}
_RELATIVE = 0x10  # DW_EH_PE_pcrel


@record
class FrameSection:
    """A section of call frame information: its bytes (with PADDING behind them), the address it is loaded
    to, and whether it is an .eh_frame, else a .debug_frame. ``has_size``: not known to the linker only."""

    data: bytes
    address: int
    is_eh_frame: bool


@record
class Entries:
    """The entries of a section, arrays of shape (n,) in the order of the file.

    Each covers code from ``starts`` up to ``ends`` (int64) by a program at ``programs`` up to ``limits``,
    and belongs to one of ``commons`` by index.
    """

    section: FrameSection
    starts: Array
    ends: Array
    programs: Array
    limits: Array
    common: Array
    commons: list[CommonEntry]

    def __len__(self) -> int:
        return len(self.starts)


def sections(tables: Tables, held: contextlib.ExitStack) -> Iterator[FrameSection]:
    """Yield .eh_frame and .debug_frame, as far as a file has them; charged until ``held`` is closed.

    Raises ElfError, OverBudgetError, OSError.
    """
    section = tables.section(b".eh_frame")
    if section is not None:
        held.enter_context(tables.account.reserved(memory=int(section["size"])))
        yield FrameSection(tables.content(section) + bytes(PADDING), int(section["addr"]), is_eh_frame=True)
    else:
        yield from _by_header(tables, held)
    section = tables.section(b".debug_frame")
    if section is not None:
        held.enter_context(tables.account.reserved(memory=int(section["size"])))
        data = tables.content(section)
        if int(section["flags"]) & _PACKED:
            data = _unpack(data, tables.account, held)
        yield FrameSection(data + bytes(PADDING), 0, is_eh_frame=False)


def _by_header(tables: Tables, held: contextlib.ExitStack) -> Iterator[FrameSection]:
    """Find .eh_frame by .eh_frame_hdr, which is a segment: for files without section headers."""
    segments = tables.segments
    for header in segments[segments["type"] == EH_FRAME]:
        size = min(int(header["filesz"]), _HEADER)
        cursor = Cursor(content(tables.descriptor, int(header["offset"]), size), int(header["vaddr"]))
        parsed = eh_frame_header.parse(cursor, _WORD)
        if parsed is None or parsed.frames is None:
            continue
        frames = parsed.frames
        for segment in segments[segments["type"] == LOAD]:
            start, size = int(segment["vaddr"]), int(segment["filesz"])
            if start <= frames < start + size:
                # How long it is, only its end says: an entry without a length.
                size = min(start + size - frames, TABLE_LIMIT)
                held.enter_context(tables.account.reserved(memory=size))
                offset = int(segment["offset"]) + frames - start
                data = content(tables.descriptor, offset, size)
                yield FrameSection(data[: _find_end(data)] + bytes(PADDING), frames, is_eh_frame=True)
                return


def _find_end(data: bytes) -> int:
    position = 0
    while position + 4 <= len(data):
        length = int.from_bytes(data[position : position + 4], "little")
        if not length or length >= 0xFFFFFFF0:
            break
        position += 4 + length
    return min(position, len(data))


def _unpack(data: bytes, account: Account, held: contextlib.ExitStack) -> bytes:
    """Unpack a compressed section; empty if it is packed by zstd. Raises ElfError."""
    if len(data) < _PACKED_HEADER.size:
        raise ElfError("a compressed section ends too early")
    kind, _, size, _ = _PACKED_HEADER.unpack_from(data)
    if kind != _ZLIB:
        return b""
    if size > TABLE_LIMIT:
        raise ElfError("a table is too large to be true")
    held.enter_context(account.reserved(memory=size))
    try:
        return zlib.decompressobj().decompress(data[_PACKED_HEADER.size :], size or 1)
    except zlib.error as error:
        raise ElfError(f"a compressed section is damaged: {error}") from error


def read(section: FrameSection, account: Account, held: contextlib.ExitStack) -> Entries:
    """Read the entries of a section. Those that belong to none, or to a broken one, are left out.

    Raises ElfError or OverBudgetError. They are charged until ``held`` is closed.
    """
    if section.address >= ADDRESS_LIMIT:
        raise ElfError("call frame information is outside of user space")
    bodies, limits, parents, common_entries = _split(section, account)
    held.enter_context(account.reserved(entries=len(bodies), memory=_MEMORY * len(bodies)))
    commons = list[CommonEntry]()
    common = np.full(len(parents), -1, np.int64)
    values, inverse = np.unique(parents, return_inverse=True)
    index_of = np.full(len(values), -1, np.int64)
    for number, parent in enumerate(values.tolist()):
        account.check()
        begin = parent + 8  # behind the length and the id
        with contextlib.suppress(ElfError):
            cursor = Cursor(section.data[begin : common_entries.get(parent, 0)], section.address + begin)
            commons.append(common_entry.parse(cursor, _WORD))
            index_of[number] = len(commons) - 1
    common = index_of[inverse] if len(values) else common
    return _read_ranges(section, bodies, limits, common, commons)


def _split(section: FrameSection, account: Account) -> tuple[Array, Array, Array, dict[int, int]]:
    """Return where the entries begin behind their id, where they end, and where the ones are that they belong
    to; and of the latter, by where they begin, where they end."""
    positions = _walk(section.data, account)
    data = np.frombuffer(section.data, np.uint8)
    ends = positions + 4 + _read_numbers(data, positions, 4, is_signed=False)
    identities = _read_numbers(data, positions + 4, 4, is_signed=False)
    has_identity = (ends - positions >= 8) & (ends - positions <= _ENTRY_LIMIT)
    is_common = identities == (0 if section.is_eh_frame else _EXTENDED)
    common = np.flatnonzero(is_common & has_identity)
    if len(common) > _COMMONS_LIMIT:
        raise ElfError("call frame information has too many entries to be true")
    commons = dict(zip(positions[common].tolist(), ends[common].tolist(), strict=True))
    own = np.flatnonzero(~is_common & has_identity)
    parents = positions[own] + 4 - identities[own] if section.is_eh_frame else identities[own]
    return positions[own] + 8, ends[own], parents, commons


def _walk(data: bytes, account: Account) -> Array:
    """Return where the entries begin that are whole; the 64-bit format, which nobody writes here, ends
    them."""
    positions, read_length = array.array("q"), struct.Struct("<I").unpack_from
    position, size = 0, len(data) - PADDING
    while len(positions) < _ENTRIES_LIMIT:
        account.check()
        for _ in range(_CHECKED):
            [length] = read_length(data, position)
            end = position + 4 + length
            if end > size:
                return np.array(positions, np.int64)
            positions.append(position)
            position = end
    raise ElfError("call frame information has too many entries to be true")


def _read_ranges(
    section: FrameSection, bodies: Array, limits: Array, common: Array, commons: list[CommonEntry]
) -> Entries:
    """Read what code entries cover, and where their programs begin."""
    data = np.frombuffer(section.data, np.uint8)
    starts, sizes, places = np.zeros((3, len(bodies)), np.int64)
    has_range = np.zeros(len(bodies), bool)
    encodings = np.array([entry.pointers for entry in commons], np.int64)
    encoding_of = encodings[common] if len(commons) else common
    for encoding in np.unique(encoding_of[common >= 0]).tolist():
        if encoding & 0xF not in _FORMATS or encoding & 0xF0 not in (0, _RELATIVE):
            continue
        size, is_signed = _FORMATS[encoding & 0xF]
        chosen = np.flatnonzero((encoding_of == encoding) & (common >= 0) & (bodies + 2 * size <= limits))
        at = bodies[chosen]
        values = _read_numbers(data, at, size, is_signed=is_signed)
        starts[chosen] = values + (at + section.address if encoding & _RELATIVE else 0)
        sizes[chosen] = _read_numbers(data, at + size, size, is_signed=False)
        places[chosen] = at + 2 * size
        has_range[chosen] = values != 0  # else of code that the linker has left out
    augmented = np.flatnonzero(
        np.array([entry.augmented for entry in commons] or [False])[common] & has_range
    )
    lengths, ends = read_uleb(data, places[augmented])
    places[augmented] = ends + lengths
    chosen = np.flatnonzero(has_range & (places <= limits))
    starts, sizes = starts[chosen], sizes[chosen]
    return Entries(section, starts, starts + sizes, places[chosen], limits[chosen], common[chosen], commons)


def _read_numbers(data: Array, at: Array, size: int, *, is_signed: bool) -> Array:
    """Read a number of ``size`` bytes at each place (int64). Those without a sign are limited to _FAR."""
    raw = np.ascontiguousarray(data[at[:, None] + np.arange(size)])
    if is_signed:
        return raw.view(f"<i{size}")[:, 0].astype(np.int64)
    return np.minimum(raw.view(f"<u{size}")[:, 0].astype(np.uint64), np.uint64(_FAR)).astype(np.int64)
