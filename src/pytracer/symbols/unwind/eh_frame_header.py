"""Read .eh_frame_hdr: where .eh_frame is, and a sorted table of its entries."""

from __future__ import annotations

from pytracer.record import record
from pytracer.symbols.code.cursor import Cursor

SORTED = 0x3B  # DW_EH_PE_datarel | DW_EH_PE_sdata4: what linkers write
_VERSION = 1


@record
class EhFrameHeader:
    """``frames`` is the address of .eh_frame, None if it is not given; ``entries`` is the number of pairs in
    the table, None if there is none of a known form, which begins behind the header."""

    frames: int | None
    entries: int | None


def parse(cursor: Cursor, word: int) -> EhFrameHeader | None:
    """Parse a header; None if it is of an unknown version. Raises ElfError."""
    if cursor.number(1) != _VERSION:
        return None
    encodings = [cursor.number(1) for _ in range(3)]
    frames = cursor.pointer(encodings[0], word, cursor.address)
    entries = cursor.pointer(encodings[1], word, cursor.address)
    return EhFrameHeader(frames, entries if encodings[2] == SORTED else None)
