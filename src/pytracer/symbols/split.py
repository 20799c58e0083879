"""Read split debug information (``-gsplit-dwarf``, DWARF 5): the units that skeletons in the program refer
to.

They are in .dwo files, or in a package of such files (PROGRAM.dwp).
"""

from __future__ import annotations

import inspect
import io
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elftools.dwarf.die import DIE, AttributeValue
from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DWARFInfo
from elftools.elf.elffile import ELFFile

from pytracer.budget import Account
from pytracer.symbols.dwarf_entries import DebugEntries, resolve_signatures
from pytracer.symbols.elf_tables import Tables

_SECTIONS = ("info", "abbrev", "str", "str_offsets", "loclists", "rnglists", "line")
_NAME = re.compile(r"\.debug_(\w+)\.dwo")
_IN_PACKAGE = {1: "info", 3: "abbrev", 4: "line", 5: "loclists", 6: "str_offsets", 8: "rnglists"}  # DW_SECT_*
_INDEX = struct.Struct("=HxxIII")  # of a package, DWARF 5: version, sections, units, slots
_VERSION = 5
# Where the offsets of a unit begin in its part of a section, behind the header: of DWARF's 32-bit format.
_BASES = {"DW_AT_str_offsets_base": 8, "DW_AT_loclists_base": 12, "DW_AT_rnglists_base": 12}
_LIMIT = 1 << 28  # bytes of one file


class _SplitInfo(DWARFInfo):
    """Debug information whose addresses are in the program: those of the ``skeleton``."""

    skeleton: Any

    def get_addr(self, _cu: Any, index: int) -> Any:
        """See DWARFInfo."""
        return self.skeleton.dwarfinfo.get_addr(self.skeleton, index)


def whole(unit: Any, program: Tables) -> Any:
    """Return the full unit of a skeleton; the unit itself if it is no skeleton, or its file is not found.

    Raises pyelftools' exceptions if a file is damaged, and OverBudgetError.
    """
    top = unit.get_top_DIE()
    name = top.attributes.get("DW_AT_dwo_name")
    if name is None or unit.header.version != _VERSION:
        return unit
    unit_id = unit.header.dwo_id
    for path in _iter_paths(top, os.fsdecode(name.value), program):
        if not path.is_file() or path.stat().st_size > _LIMIT:
            continue
        with path.open("rb") as stream:
            sections = _read_sections(ELFFile(stream), unit_id, program.account)
        info = _make_info(unit, sections, program.account)
        entries, full = DebugEntries(program.account), None
        for entry in info.iter_CUs() if info is not None else ():
            entries.spend()
            _complete(entry, top)  # type units, too: the types of the unit stand there
            if entry.header.get("dwo_id") == unit_id:
                full = entry
        if full is not None:
            return full
    return unit


def _iter_paths(top: Any, name: str, program: Tables) -> Iterator[Path]:
    """Yield candidate paths: the package beside the program, the .dwo file in the compile folder, and
    beside the program."""
    path = Path(f"/proc/self/fd/{program.descriptor}").readlink()
    folder = top.attributes.get("DW_AT_comp_dir")
    yield path.with_name(f"{path.name}.dwp")
    if folder is not None:
        yield Path(os.fsdecode(folder.value), name)
    yield path.parent / name
    yield path.parent / Path(name).name


def _read_sections(file: Any, unit_id: int, account: Account) -> dict[str, bytes]:
    """Return the sections of a unit in a .dwo file or package, by name. Each type unit may be in a section of
    its own."""
    sections = dict[str, bytes]()
    for section in file.iter_sections():
        name = _NAME.fullmatch(section.name)
        if name is not None and name[1] in _SECTIONS:
            account.check()
            with account.reserved(memory=min(int(section["sh_size"]), _LIMIT)):
                sections[name[1]] = sections.get(name[1], b"") + section.data()
    index = file.get_section_by_name(".debug_cu_index")
    return _read_part(sections, index.data(), unit_id) if index is not None else sections


def _read_part(sections: dict[str, bytes], index: bytes, unit_id: int) -> dict[str, bytes]:
    """Return a unit's part of a package's sections; {} if the unit is not in the package."""
    version, columns, rows, slots = _INDEX.unpack_from(index)
    if version != _VERSION or slots > len(index) or columns > len(_IN_PACKAGE) + 2:
        return {}
    ids = struct.unpack_from(f"={slots}Q", index, _INDEX.size)
    sizes_offset = _INDEX.size + 8 * slots
    numbers = struct.unpack_from(f"={slots}I", index, sizes_offset)
    sizes_offset += 4 * slots
    kinds = struct.unpack_from(f"={columns}I", index, sizes_offset)
    sizes_offset += 4 * columns
    row = next(
        (number for row_id, number in zip(ids, numbers, strict=True) if row_id == unit_id and number), 0
    )
    if not 0 < row <= rows:
        return {}
    offsets = struct.unpack_from(f"={columns}I", index, sizes_offset + 4 * columns * (row - 1))
    sizes = struct.unpack_from(f"={columns}I", index, sizes_offset + 4 * columns * (rows + row - 1))
    part = {"str": sections.get("str", b"")}
    for kind, offset, size in zip(kinds, offsets, sizes, strict=True):
        name = _IN_PACKAGE.get(kind, "")
        if name in sections:
            part[name] = sections[name][offset : offset + size]
    return part


def _make_info(skeleton: Any, sections: dict[str, bytes], account: Account) -> Any:
    if "info" not in sections or "abbrev" not in sections:
        return None
    arguments: dict[str, Any] = dict.fromkeys(list(inspect.signature(DWARFInfo.__init__).parameters)[1:])
    arguments["config"] = skeleton.dwarfinfo.config
    for name, data in sections.items():
        arguments[f"debug_{name}_sec"] = DebugSectionDescriptor(io.BytesIO(data), name, 0, len(data), 0)
    info = _SplitInfo(**arguments)
    info.skeleton = skeleton
    resolve_signatures(info, account)
    return info


def _complete(unit: Any, skeleton: Any) -> None:
    """Complete a unit's first entry with the attributes that only the skeleton has, among them where offsets
    begin. Those attributes are then read like the others."""
    top = DIE(cu=unit, stream=unit.dwarfinfo.debug_info_sec.stream, offset=unit.cu_die_offset)
    for name, base in _BASES.items():
        top.attributes.setdefault(name, AttributeValue(name, "DW_FORM_sec_offset", base, base, 0, 0))
    low = skeleton.attributes.get("DW_AT_low_pc")
    if low is not None:
        top.attributes["DW_AT_low_pc"] = AttributeValue(
            "DW_AT_low_pc", "DW_FORM_addr", low.value, low.value, 0, 0
        )
    unit._dielist.insert(0, top)  # as get_top_DIE does
    unit._diemap.insert(0, unit.cu_die_offset)
    top._translate_indirect_attributes()
