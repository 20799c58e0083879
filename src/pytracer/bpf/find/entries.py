"""The entries of debug information (DWARF), gone through so that it comes to an end.

The file may be anybody's: an entry may say that it is its own sibling, and small files may describe millions.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

_MOST = 200_000  # entries: pyelftools reads so many in some seconds, and keeps them
_LISTED = 16  # ranges or places of a list take as long as one entry
_PATIENCE = 10.0  # seconds


class TooManyError(ValueError):
    """There is more than can be gone through."""


class Entries:
    """A way through the entries of one file. All that goes through them spends of one budget."""

    def __init__(self) -> None:
        self._left = _MOST
        self._until = time.monotonic() + _PATIENCE

    def spend(self, count: int = 1) -> None:
        """Go through so many more. Raises TooManyError."""
        self._left -= count
        if self._left < 0 or time.monotonic() > self._until:
            raise TooManyError

    def skim(self, count: int) -> None:
        """Go through a list of so many ranges or places. Raises TooManyError."""
        self.spend(count // _LISTED)

    def children(self, entry: Any) -> Iterator[Any]:
        """Those right below an entry. Every step leads onwards in the file, whatever it says of siblings."""
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
                after = entry.cu.cu_offset + sibling.value if sibling is not None else 0
                if after > offset:
                    offset = after
                else:
                    depth += 1


def followed(entry: Any, attribute: str) -> Any:
    """The entry that an attribute refers to; None where there is no such attribute."""
    return entry.get_DIE_from_attribute(attribute) if attribute in entry.attributes else None


def having(entry: Any, attribute: str) -> Any:
    """The entry itself, or the one that it is a copy or the definition of, if that has an attribute."""
    for _ in range(3):
        if attribute in entry.attributes:
            break
        before = followed(entry, "DW_AT_abstract_origin") or followed(entry, "DW_AT_specification")
        if before is None:
            break
        entry = before
    return entry


def name_of(entry: Any) -> str:
    """Its name; "" where it has none."""
    name = entry.attributes.get("DW_AT_name")
    return name.value.decode("utf-8", "replace") if name is not None else ""


def constant(entry: Any, attribute: str) -> int | None:
    """The number that an attribute is; None where it is none."""
    found = entry.attributes.get(attribute)
    return found.value if found is not None and isinstance(found.value, int) else None
