"""What debug information (DWARF) says of a function of a program, as BTF: its arguments, what it returns, and
all types that these lead to. Who reads the kernel's types can read a program's then, too.

The file may be anybody's. What is wrong with it, or more than can be gone through, is as if there were none.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from typing import Any

from pytracer.bpf.find.dwarf_types import Writer
from pytracer.kernel.btf import Btf
from pytracer.symbols import debug
from pytracer.symbols.files import ProgramFile
from pytracer.symbols.tables import ElfError, Tables, content

_LIMIT = 1 << 29  # bytes of debug information, unpacked: it is read into memory
_READ = re.compile(rb"\.(z?debug_|gnu_debug|eh_frame)")  # sections
_PACKED = 1 << 11  # SHF_COMPRESSED
_UNPACKED_SIZE = struct.Struct("=8xQ8x")  # Elf64_Chdr
_UNITS = 1 << 16  # compilation units without a table of what is where, that are gone through
_WIDE = 2  # Tables.width of 64-bit files, whose arguments are in registers


def types_of(file: ProgramFile, name: str, offset: int) -> Btf | None:
    """The function whose code begins at an offset of the file (bytes), a FUNC of this name, and its types.

    None where there is no debug information about it."""
    with file.reading() as tables:
        address = tables.address_of(offset)
        if address is None or tables.width != _WIDE:
            return None
        with _described(tables) as descriptor:
            if descriptor < 0:
                return None
            try:
                with open(os.dup(descriptor), "rb") as stream:
                    return _read(stream, name, address)
            except Exception:
                return None


@contextlib.contextmanager
def _described(tables: Tables) -> Iterator[int]:
    """A descriptor of the file with debug information: this one, or the one that it was put into; else -1."""
    if _has(tables):
        yield tables.descriptor
        return
    with debug.separate(tables.build_id()) as other:
        yield other.descriptor if other is not None and _has(other) else -1


def _has(tables: Tables) -> bool:
    """Whether there is debug information, and no more than can be read."""
    if tables.section(b".debug_info") is None:
        return False
    total = 0
    with contextlib.suppress(ElfError, OSError):
        for section in tables.sections:
            if _READ.match(tables.names, int(section["name"])):
                size = int(section["size"])
                if int(section["flags"]) & _PACKED:
                    head = content(tables.descriptor, int(section["offset"]), _UNPACKED_SIZE.size)
                    size = max(size, *_UNPACKED_SIZE.unpack(head))
                total += size
        return total <= _LIMIT
    return False


def _read(stream: Any, name: str, address: int) -> Btf | None:
    from elftools.elf.elffile import ELFFile

    info = ELFFile(stream).get_dwarf_info(follow_links=False)
    for unit in _units(info, address):
        function = _function(unit, address)
        if function is not None:
            writer = Writer()
            writer.function(name, function)
            return Btf(writer.data(), origin="debug information")
    return None


def _units(info: Any, address: int) -> Iterator[Any]:
    """The compilation units that code at an address may be of: by the table of them, if there is one."""
    table = info.get_aranges()
    at = table.cu_offset_at_addr(address) if table is not None else None
    if at is not None:
        yield info.get_CU_at(at)
        return
    for number, unit in enumerate(info.iter_CUs()):
        if number == _UNITS:
            return
        if _covers(unit, address):
            yield unit


def _covers(unit: Any, address: int) -> bool:
    top = unit.get_top_DIE()
    if "DW_AT_ranges" in top.attributes:
        return True  # in pieces: its functions are looked at instead
    bounds = _bounds(top)
    return bounds is not None and bounds[0] <= address < bounds[1]


def _bounds(entry: Any) -> tuple[int, int] | None:
    low, high = (entry.attributes.get(f"DW_AT_{end}_pc") for end in ("low", "high"))
    if low is None or high is None:
        return None
    length = high.value if high.form not in ("DW_FORM_addr", "DW_FORM_addrx") else high.value - low.value
    return low.value, low.value + length


def _function(unit: Any, address: int) -> Any:
    """The entry of the function that begins there; None where the unit has none."""
    left = [unit.get_top_DIE()]
    while left:
        for entry in left.pop().iter_children():
            if entry.tag == "DW_TAG_namespace":
                left.append(entry)
            elif entry.tag == "DW_TAG_subprogram":
                low = entry.attributes.get("DW_AT_low_pc")
                if low is not None and low.value == address:
                    return entry
    return None
