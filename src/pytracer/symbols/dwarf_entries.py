"""Walk the entries of debug information (DWARF) within limits.

The file may be anybody's: an entry may say that it is its own sibling, and small files may describe millions.
"""

from __future__ import annotations

import functools
from collections.abc import Container, Iterator
from typing import Any

from elftools.dwarf.die import DIE

from pytracer.budget import Account

WEIGHT = 20  # what pyelftools takes for an entry, in time and memory, as symbols of a table
_KEPT = 2000  # bytes that it keeps of one
_WALKED = 2  # as WEIGHT, of an entry that is not kept
_LISTED = 16  # ranges or places of a list take as long as one entry


class DebugEntries:
    """A way through the entries of one file, charged to the file's account."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def spend(self, count: int = 1) -> None:
        """Charge ``count`` more entries. Raises OverBudgetError."""
        self._account.check()
        self._account.charge(entries=WEIGHT * count, memory=_KEPT * count)

    def skim(self, count: int) -> None:
        """Charge a list of ``count`` ranges or locations. Raises OverBudgetError."""
        self.spend(count // _LISTED)

    def children(self, entry: Any) -> Iterator[Any]:
        """Yield the direct children of an entry. Each step goes forward in the file, whatever DW_AT_sibling
        says."""
        if not entry.has_children:
            return
        offset, depth = entry.offset + entry.size, 0
        while True:
            self.spend()
            child = entry.cu.get_DIE_from_refaddr(offset)  # which must be in this unit
            offset += child.size
            if child.is_null():
                if not depth:
                    return
                depth -= 1
                continue
            if not depth:
                yield child
            if child.has_children:
                sibling = child.attributes.get("DW_AT_sibling")
                next_offset = entry.cu.cu_offset + sibling.value if sibling is not None else 0
                if next_offset > offset:
                    offset = next_offset
                else:
                    depth += 1

    def walk(self, root: Any, enter: Container[str]) -> Iterator[Any]:
        """Yield the entries below one in the order of the file, each once; none is kept. Those in one with
        a tag that is not in ``enter`` are left out where DW_AT_sibling says where they end."""
        unit, offset, depth = root.cu, root.offset + root.size, 1
        while depth and root.has_children:
            self._account.check()
            self._account.charge(entries=_WALKED)
            entry = DIE(unit, root.stream, offset)
            offset += entry.size
            if entry.is_null():
                depth -= 1
                continue
            yield entry
            if entry.has_children:
                sibling = entry.attributes.get("DW_AT_sibling") if entry.tag not in enter else None
                next_offset = unit.cu_offset + sibling.value if sibling is not None else 0
                depth += next_offset <= offset
                offset = max(offset, next_offset)


def resolve_signatures(info: Any, account: Account) -> None:
    """Make references by signature find the type units of DWARF 5, which are in .debug_info: pyelftools looks
    into .debug_types alone."""
    entries, find_by_signature = DebugEntries(account), info.get_DIE_by_sig8

    @functools.cache
    def known() -> dict[int, Any]:
        units = dict[int, Any]()
        for unit in info.iter_CUs():
            entries.spend()
            if "type_signature" in unit.header:
                units.setdefault(unit.header["type_signature"], unit)
        return units

    def find(signature: int) -> Any:
        unit = known().get(signature)
        return (
            unit.get_DIE_from_refaddr(unit.cu_offset + unit["type_offset"])
            if unit
            else find_by_signature(signature)
        )

    info.get_DIE_by_sig8 = find


def follow_reference(entry: Any, attribute: str) -> Any:
    """Return the entry that an attribute refers to; None if the attribute is missing."""
    return entry.get_DIE_from_attribute(attribute) if attribute in entry.attributes else None


def find_having(entry: Any, attribute: str) -> Any:
    """Return the first of an entry and its DW_AT_abstract_origin or DW_AT_specification with an attribute.

    The last entry in that chain is returned if none has it.
    """
    for _ in range(3):
        if attribute in entry.attributes:
            break
        origin = follow_reference(entry, "DW_AT_abstract_origin") or follow_reference(
            entry, "DW_AT_specification"
        )
        if origin is None:
            break
        entry = origin
    return entry


def name_of(entry: Any) -> str:
    """Return an entry's name; "" if it has none."""
    name = entry.attributes.get("DW_AT_name")
    return name.value.decode("utf-8", "replace") if name is not None else ""


def constant(entry: Any, attribute: str) -> int | None:
    """Return an attribute's value if it is a number, else None."""
    attribute_value = entry.attributes.get(attribute)
    return (
        attribute_value.value
        if attribute_value is not None and isinstance(attribute_value.value, int)
        else None
    )
