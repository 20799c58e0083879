"""The arguments, fields and memory that expressions can refer to where a program runs.

``code`` is always C of our own, generated from numbers by the functions that make a scope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from pytracer.lang.types import StructType, Type
from pytracer.record import default_factory, record

KERNEL, USER, EITHER = "PT_MEMORY_KERNEL", "PT_MEMORY_USER", "PT_MEMORY_EITHER"
"""The memory that an address is in. EITHER: the address itself tells (probes_c/include/probe_specs.h)."""


@record
class Value:
    """A number or address: C that gives it, as its type says. ``length`` is C for the bytes of a string with
    its NUL, where they are known."""

    code: str
    type: Type
    constant: int | None = None
    length: str = ""


@record
class Lvalue:
    """A location in memory: ``offset`` bytes behind the address that ``code`` gives; of a bit-field
    ``bits`` from bit ``shift`` on. ``direct``: it is in the program's context, of which ``code`` is the
    start."""

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


Operand = Value | Lvalue | Comm


@record
class RecordField:
    """A member of a struct, ``offset`` in bits."""

    type: Type
    offset: int
    bits: int = 0


class TypeProvider(Protocol):
    """The types that a kernel has. ``missing_reason`` says why there are none; "" if there are."""

    missing_reason: str

    def members(self, struct: StructType) -> Mapping[str, RecordField]:
        """Return the members by name; those of unnamed inner structs are among them."""
        ...

    def find(self, kind: str, name: str) -> Type | None:
        """Find a ``struct``, ``union``, ``enum`` or ``typedef`` by name."""
        ...

    def names(self, kind: str) -> set[str]:
        """Return all names, for suggestions."""
        ...

    def enumerator(self, name: str) -> int | None:
        """Return the value of an enumerator."""
        ...

    def enum_of(self, enumerator: str) -> str:
        """Return the name of the enum that an enumerator is of; "" if it has none, or is not known."""
        ...

    def enum_names(self, enum: str) -> Mapping[int, str]:
        """Return the names of an enum's values."""
        ...


@record
class Scope:
    """The names that expressions can use at one target.

    ``what`` names the target, for messages. ``named`` are its arguments or fields by name, ``numbered`` the
    values of ``arg1`` and so on. ``returned`` is the return value; ``entry`` the scope at the function's
    entry, if it is available. ``missing_reason`` says why there are no arguments, ``memory`` is the memory
    that numbers cast to addresses point to. ``record``: the fields are those of ``args``.
    ``variable`` finds a variable of the program by its name: its distance from the probed instruction, and
    its size.
    """

    what: str
    types: TypeProvider
    named: Mapping[str, Operand] = default_factory(factory=dict)
    numbered: tuple[Operand, ...] = ()
    returned: Value | None = None
    entry: Scope | None = None
    missing_reason: str = ""
    memory: str = EITHER
    record: bool = False
    variable: Callable[[str], tuple[int, int] | None] | None = None
