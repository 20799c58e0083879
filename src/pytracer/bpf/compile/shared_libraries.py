"""Read the names of the libraries that a shared library needs from its file, without loading it."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_PT_LOAD, _PT_DYNAMIC = 1, 2  # include/uapi/linux/elf.h
_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5
_ORDERS = {1: "<", 2: ">"}  # EI_DATA


def list_needed(path: Path) -> list[str]:
    """Return the DT_NEEDED names of a 64-bit ELF file, in order.

    Empty if it is another kind of file, or broken. Raises OSError if it cannot be read.
    """
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse_needed(data)
        except (struct.error, ValueError, LookupError):
            return []


def _parse_needed(data: mmap.mmap) -> list[str]:
    if data[:4] != b"\x7fELF" or data[4] != 2:
        return []
    order = _ORDERS[data[5]]
    (table,) = struct.unpack_from(order + "Q", data, 32)
    size, count = struct.unpack_from(order + "HH", data, 54)
    segments = [struct.unpack_from(order + "IIQQQQ", data, table + n * size) for n in range(count)]
    names, strings = [], None
    for kind, _, offset, _, _, length in segments:
        if kind != _PT_DYNAMIC:
            continue
        for position in range(offset, offset + length, 16):
            tag, value = struct.unpack_from(order + "qQ", data, position)
            if tag == _DT_NULL:
                break
            if tag == _DT_NEEDED:
                names.append(value)
            elif tag == _DT_STRTAB:
                strings = value
    if strings is None:
        return []
    for kind, _, offset, address, _, length in segments:
        if kind == _PT_LOAD and address <= strings < address + length:
            start = offset + strings - address
            return [_read_string(data, start + name) for name in names]
    return []


def _read_string(data: mmap.mmap, start: int) -> str:
    return data[start : data.find(b"\0", start)].decode(errors="replace")
