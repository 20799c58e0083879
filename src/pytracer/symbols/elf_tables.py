"""Read the tables of an ELF file: segments, sections, and their contents.

The file may be anybody's. It is read by pread, since a mapping of a file that is truncated meanwhile would
kill us with SIGBUS; the sizes that it claims are checked, and nonsense raises ElfError.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

from pytracer.arrays import Array, np
from pytracer.budget import Account, of_file
from pytracer.record import record
from pytracer.text import from_bytes

TABLE_LIMIT = 1 << 27  # bytes of one table: a browser's with all its symbols has some 100 MB
NAME_LIMIT = 4096
_NOTES_LIMIT, _NOTES = 1 << 16, 16  # bytes, and sections that are looked at
# include/uapi/linux/elf.h
FIXED = 2  # ET_EXEC: loaded where it says, nowhere else
LOAD, NOTE, EH_FRAME = 1, 4, 0x6474E550  # segments; EH_FRAME is PT_GNU_EH_FRAME
_NOTE_SECTION = 7
EXECUTABLE, WRITABLE = 1, 2
NOBITS = 8  # a section that takes no room in the file
BUILD_ID = 3  # NT_GNU_BUILD_ID
LITTLE = sys.byteorder == "little"
_NATIVE = 1 if LITTLE else 2

# By EI_CLASS, 1 (32-bit) and 2: where the tables are (offset, entry size, entries), the section of the
# sections' names, and what is in them.
_HEADER = {1: ("u4", 28, 32, 42, 46, 50), 2: ("u8", 32, 40, 54, 58, 62)}
_SEGMENT = {
    1: [("type", "u4"), ("offset", "u4"), ("vaddr", "u4"), ("paddr", "u4"), ("filesz", "u4"), ("memsz", "u4"),
        ("flags", "u4"), ("align", "u4")],
    2: [("type", "u4"), ("flags", "u4"), ("offset", "u8"), ("vaddr", "u8"), ("paddr", "u8"), ("filesz", "u8"),
        ("memsz", "u8"), ("align", "u8")],
}  # fmt: skip
_WORD = {1: "u4", 2: "u8"}


class ElfError(ValueError):
    """Not an ELF file of this machine's byte order, or a broken one."""


@record
class Tables:
    """The headers of an open ELF file. ``width`` is 1 for a 32-bit file, else 2; ``kind`` is one of
    ``ET_*``, ``machine`` one of ``EM_*``.

    ``names`` is the string table of section names. Reads of the file are charged to ``account``.
    """

    descriptor: int
    width: int
    kind: int
    machine: int
    segments: Array
    sections: Array
    names: bytes
    account: Account

    def section(self, name: bytes) -> Any:
        """Return the first section with a name and contents in the file; None if there is none."""
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    @functools.cached_property
    def _known(self) -> dict[bytes, Any]:
        """The sections that were looked for: some are asked for with each function of a pattern."""
        return {}

    def _find(self, name: bytes) -> Any:
        for section in self.sections:
            start = int(section["name"])
            if self.names[start : start + len(name) + 1] == name + b"\0" and section["type"] != NOBITS:
                return section
        return None

    def content(self, section: Any, limit: int = TABLE_LIMIT) -> bytes:
        """Read a section, at most ``limit`` bytes. Raises ElfError or OSError."""
        return content(self.descriptor, int(section["offset"]), int(section["size"]), limit)

    def loaded(self, flag: int) -> Array:
        """Return the loaded segments with a flag: EXECUTABLE or WRITABLE."""
        loadable: Array = self.segments[
            (self.segments["type"] == LOAD) & (self.segments["flags"] & flag != 0)
        ]
        return loadable

    def offset_of(self, address: int, flag: int = EXECUTABLE) -> int | None:
        """Return the file offset of an address in a segment with that flag; None if it is in none."""
        for segment in self.loaded(flag):
            start = int(segment["vaddr"])
            if start <= address < start + int(segment["filesz"]):
                return address - start + int(segment["offset"])
        return None

    def address_of(self, offset: int, flag: int = EXECUTABLE) -> int | None:
        """Return the address of a file offset, in a segment with that flag; None if it is in none."""
        for segment in self.loaded(flag):
            start = int(segment["offset"])
            if start <= offset < start + int(segment["filesz"]):
                return offset - start + int(segment["vaddr"])
        return None

    def build_id(self) -> str:
        """Return the build id in hexadecimal; empty if there is none."""
        places = self.segments[self.segments["type"] == NOTE][["offset", "filesz"]]
        if not len(self.segments):  # a file that nobody runs
            places = self.sections[self.sections["type"] == _NOTE_SECTION][:_NOTES][["offset", "size"]]
        for offset, size in places.tolist():
            if not 0 < size <= _NOTES_LIMIT:
                continue
            for name, kind, data in notes(content(self.descriptor, offset, size)):
                if kind == BUILD_ID and name == b"GNU\0":
                    return data.hex()
        return ""


def read(descriptor: int, account: Account | None = None) -> Tables:
    """Read the headers of an open file, charged to its owner or to ``account``. Raises ElfError or
    OSError."""
    head = os.pread(descriptor, 64, 0)
    if len(head) < 64 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] != _NATIVE:
        raise ElfError("not an ELF file of this machine's kind")
    width = head[4]
    word, phoff, shoff, phsize, shsize, names_at = _HEADER[width]

    def number(kind: str, offset: int) -> int:
        return int(np.frombuffer(head, kind, 1, offset)[0])

    def table(start: int, size: int, members: list[tuple[str, str]]) -> Array:
        return _read_table(
            descriptor, number(word, start), number("u2", size), number("u2", size + 2), members
        )

    sections = table(shoff, shsize, _section_fields(width))
    section_index = number("u2", names_at)
    names = b""
    if 0 < section_index < len(sections) and sections[section_index]["type"] != NOBITS:
        names = content(
            descriptor, int(sections[section_index]["offset"]), int(sections[section_index]["size"])
        )
    segments = table(phoff, phsize, _SEGMENT[width])
    return Tables(
        descriptor, width, number("u2", 16), number("u2", 18), segments, sections, names,
        account or of_file(descriptor),
    )  # fmt: skip


def content(descriptor: int, offset: int, size: int, limit: int = TABLE_LIMIT) -> bytes:
    """Read a part of the file, all of it. Raises ElfError or OSError."""
    if size > limit or offset > 1 << 62:
        raise ElfError("a table is too large to be true")
    parts = []
    while size:
        part = os.pread(descriptor, size, offset)
        if not part:
            raise ElfError("a table ends behind the end of the file")
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return b"".join(parts)


def notes(data: bytes) -> list[tuple[bytes, int, bytes]]:
    """Yield (name, kind, content) of each complete note."""
    found_notes = []
    position = 0
    while position + 12 <= len(data):
        name, size, kind = (int(n) for n in np.frombuffer(data, "u4", 3, position))
        start = position + 12 + (name + 3) // 4 * 4
        if start + size > len(data):
            break
        found_notes.append((data[position + 12 : position + 12 + name], kind, data[start : start + size]))
        position = start + (size + 3) // 4 * 4
    return found_notes


def name_at(strings: bytes, offset: int) -> str:
    """Return a name of a string table, truncated if it is too long."""
    end = strings.find(b"\0", offset, offset + NAME_LIMIT)
    end = offset + NAME_LIMIT if end < 0 else end
    return from_bytes(strings[offset:end])


def _section_fields(width: int) -> list[tuple[str, str]]:
    word = _WORD[width]
    return [
        ("name", "u4"), ("type", "u4"), ("flags", word), ("addr", word), ("offset", word), ("size", word),
        ("link", "u4"), ("info", "u4"), ("addralign", word), ("entsize", word),
    ]  # fmt: skip


def _read_table(descriptor: int, offset: int, size: int, count: int, members: list[tuple[str, str]]) -> Array:
    dtype = np.dtype(members)
    if not offset or not count:
        return np.zeros(0, dtype)
    if size != dtype.itemsize:
        raise ElfError("a table of headers has entries of an odd size")
    return np.frombuffer(content(descriptor, offset, size * count), dtype)
