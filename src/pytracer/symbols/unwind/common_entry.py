"""The entries (CIE) of call frame information that others (FDE) share."""

from __future__ import annotations

from pytracer.record import record
from pytracer.symbols.code.cursor import Cursor
from pytracer.symbols.elf_tables import ElfError


@record
class CommonEntry:
    """A common information entry (CIE). ``pointers`` and ``lsda`` are encodings (DW_EH_PE_*); ``program`` is
    run before that of each entry, and begins at ``position`` of what was read."""

    code_factor: int
    data_factor: int
    return_column: int
    pointers: int
    lsda: int
    augmented: bool
    program: bytes
    position: int


def parse(cursor: Cursor, word: int) -> CommonEntry:
    """Parse a common entry behind its length and id. Raises ElfError."""
    version = cursor.number(1)
    if version not in (1, 3, 4):
        raise ElfError(f"call frame information is of unknown version {version}")
    augmentation = cursor.text()
    if version == 4:
        cursor.take(2)
    code, data = cursor.uleb(), cursor.sleb()
    column = cursor.number(1) if version == 1 else cursor.uleb()
    pointers, lsda, augmented = 0, 0xFF, augmentation.startswith(b"z")
    if augmented:
        length = cursor.uleb()
        follows = cursor.position + length
        for letter in augmentation[1:]:
            if letter == ord("R"):
                pointers = cursor.number(1)
            elif letter == ord("L"):
                lsda = cursor.number(1)
            elif letter == ord("P"):
                cursor.pointer(cursor.number(1), word)
            elif letter not in b"SB":
                break
        cursor.position = follows
    elif augmentation:
        raise ElfError(f"call frame information has an unknown augmentation {augmentation!r}")
    program = cursor.data[cursor.position :]
    return CommonEntry(code, data, column, pointers, lsda, augmented, program, cursor.position)
