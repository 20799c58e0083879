"""Build ELF files: a segment with code, and symbol tables."""

from __future__ import annotations

import struct
from dataclasses import dataclass

SECTION = {1: "<10I", 2: "<IIQQQQIIQQ"}


@dataclass
class Symbol:
    name: bytes
    value: int
    size: int
    kind: int = 2  # STT_FUNC
    binding: int = 1  # STB_GLOBAL
    section: int = 1


def build(symbols=(), dynamic=(), *, width=2, offset=0x1000, vaddr=0x401000, build_id=b"") -> bytes:
    """Return a file whose code, 0x1000 bytes at ``offset``, is loaded at ``vaddr``."""
    head = 64 if width == 2 else 52
    note = struct.pack("<III4s", 4, len(build_id), 3, b"GNU\0") + build_id if build_id else b""
    segments = _segment(width, 1, 5, offset, vaddr, 0x1000)
    data_offset = head + 2 * len(segments)
    segments += _segment(width, 4, 4, data_offset, 0, len(note))
    body, sections = note, [(0, 0, 0, 0)]
    for kind, table in ((2, symbols), (11, dynamic)):
        if not table:
            continue
        names, entries = b"\0", b"\0" * (24 if width == 2 else 16)
        for symbol in table:
            entries += _symbol(width, symbol, len(names))
            names += symbol.name + b"\0"
        sections += [(kind, data_offset + len(body), len(entries), len(sections) + 1)]
        body += entries
        sections += [(3, data_offset + len(body), len(names), 0)]
        body += names
    table_at = data_offset + len(body)
    for kind, start, size, link in sections:
        body += struct.pack(SECTION[width], 0, kind, 0, 0, start, size, link, 0, 0, 0)
    word = "Q" if width == 2 else "I"
    size = struct.calcsize(SECTION[width])
    header = b"\x7fELF" + bytes([width, 1, 1]) + bytes(9)
    header += struct.pack(f"<HHI{word}{word}{word}", 3, 62, 1, 0, head, table_at)
    header += struct.pack("<IHHHHHH", 0, head, len(segments) // 2, 2, size, len(sections), 0)
    return (header + segments + body).ljust(offset + 0x1000, b"\0")


def _segment(width, kind, flags, offset, vaddr, size):
    if width == 2:
        return struct.pack("<IIQQQQQQ", kind, flags, offset, vaddr, vaddr, size, size, 0x1000)
    return struct.pack("<8I", kind, offset, vaddr, vaddr, size, size, flags, 0x1000)


def _symbol(width, symbol, name):
    info = symbol.binding << 4 | symbol.kind
    if width == 2:
        return struct.pack("<IBBHQQ", name, info, 0, symbol.section, symbol.value, symbol.size)
    return struct.pack("<IIIBBH", name, symbol.value, symbol.size, info, 0, symbol.section)


def build_with_section(name: bytes, data: bytes, *, address: int, vaddr: int = 0x401000) -> bytes:
    """Return a 64-bit file with 0x1000 bytes of code at ``vaddr``, and a section of this name."""
    names = b"\0" + name + b"\0.names\0"
    sections = [
        (0, 0, 0, 0, 0),
        (1, 1, address, 0x2000, len(data)),
        (2 + len(name), 3, 0, 0x2000 + len(data), len(names)),
    ]
    table_at = 0x2000 + len(data) + len(names)
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9) + struct.pack("<HHIQQQ", 3, 62, 1, 0, 64, table_at)
    header += struct.pack("<IHHHHHH", 0, 64, 56, 1, 64, len(sections), 2)
    table = b"".join(
        struct.pack(SECTION[2], name_at, kind, 2, at, offset, size, 0, 0, 1, 0)
        for name_at, kind, at, offset, size in sections
    )
    return (header + _segment(2, 1, 5, 0x1000, vaddr, 0x1000)).ljust(0x2000, b"\0") + data + names + table
