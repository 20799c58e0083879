"""What a question can look at where a program runs: arguments, fields, the memory that they point into.

``code`` is always C of our own: whoever makes a scope writes it, from numbers that he knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pytracer.lang.types import StructType, Type
from pytracer.record import made, record

KERNEL, USER, EITHER = "PT_MEMORY_KERNEL", "PT_MEMORY_USER", "PT_MEMORY_EITHER"
"""In which memory an address is; EITHER is told by the address itself (probes_c/include/ask.h)."""


@record
class Value:
    """A number or address: C that gives it, as its type says."""

    code: str
    type: Type
    constant: int | None = None


@record
class Lvalue:
    """Something in memory: ``offset`` bytes behind the address that ``code`` gives; of a bit-field ``bits``
    from bit ``shift`` on. ``direct``: it is in the program's context, of which ``code`` is the start."""

    code: str
    offset: int
    type: Type
    memory: str
    shift: int = 0
    bits: int = 0
    direct: bool = False

    @property
    def address(self) -> str:
        """C that gives its address as a u64."""
        code = f"(u64){self.code}" if self.direct else self.code
        return f"({code} + {self.offset}ULL)" if self.offset else f"({code})"


@record
class Comm:
    """The name of the thread that runs."""


Found = Value | Lvalue | Comm


@record
class RecordField:
    """A member of a struct, ``offset`` in bits."""

    type: Type
    offset: int
    bits: int = 0


class TypeProvider(Protocol):
    """The types that a kernel has."""

    def members(self, struct: StructType) -> Mapping[str, RecordField]:
        """By name; those of inner structs without a name are among them."""
        ...

    def find(self, kind: str, name: str) -> Type | None:
        """A ``struct``, ``union``, ``enum`` or ``typedef`` of this name."""
        ...

    def names(self, kind: str) -> set[str]:
        """All that there are, for suggestions."""
        ...

    def enumerator(self, name: str) -> int | None:
        """The value of an enumerator."""
        ...


@record
class Scope:
    """What is there at one target.

    ``what`` it is, for messages. ``named`` are its arguments or fields by name, ``numbered`` what ``arg1``
    and so on are. ``returned`` is what a function returns; ``entry`` what there was as it began, where that
    can be asked for. ``absent`` says why there are no arguments, ``memory`` is where numbers that are made
    addresses point. ``record``: the fields are those of ``args``.
    """

    what: str
    types: TypeProvider
    named: Mapping[str, Found] = made(factory=dict)
    numbered: tuple[Found, ...] = ()
    returned: Value | None = None
    entry: Scope | None = None
    missing_reason: str = ""
    memory: str = EITHER
    record: bool = False
