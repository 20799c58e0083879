"""Columns: declared once, used by every table, JSON field, CSV header and help page."""

from __future__ import annotations

from enum import Enum

from pytracer.record import record


class Unit(Enum):
    """What a number counts; a sink decides how to write it, the number itself stays exact."""

    NONE = ""
    COUNT = "count"
    NANOSECONDS = "ns"
    BYTES = "bytes"


@record
class Column:
    """One column of an output.

    ``field`` is the member of the compiled C struct it comes from (default: ``name``). ``decode`` names
    a decoder of :mod:`pytracer.enrich` that turns the raw value into what people read. ``ratio`` makes it
    a derived column, the quotient of two others (rounded down; null where the divisor is 0). ``latest``
    marks a value that is no counter: of the per-CPU copies the most recent is shown, and the C struct
    says by a member ``seen`` (ns) how recent each is. ``greatest`` marks one of which the greatest
    counts, over CPUs and over time, and not the sum. ``width`` is how many characters a table of events,
    which cannot wait for the longest, keeps for it (default: the heading's, and what numbers commonly take).
    ``absent`` is the raw value that stands for none (null in JSON, a dash in tables).
    ``computed``: it is made of more than one member, by a function of its own.
    ``wide`` columns are left out of tables, which are narrow, unless ``--wide`` asks for them.
    """

    name: str
    help: str
    field: str = ""
    label: str = ""
    unit: Unit = Unit.NONE
    decode: str = ""
    ratio: tuple[str, str] | None = None
    last: bool = False
    max: bool = False
    width: int = 0
    null: int | bytes | None = None
    wide: bool = False
    computed: bool = False

    @property
    def source(self) -> str:
        """The C struct member this column is read from; empty for one that is derived or computed."""
        return "" if self.ratio or self.computed else self.field or self.name

    @property
    def header(self) -> str:
        """The heading in a table."""
        return self.label or self.name.upper()

    @property
    def is_text(self) -> bool:
        """Whether its values are text once decoded (left-aligned in tables)."""
        return self.unit is Unit.NONE and self.ratio is None and (bool(self.decode) or self.last)


@record
class Key:
    """One dimension that rows can be grouped by: ``--by name``; compiled in by ``-DBY_<NAME>``."""

    name: str
    columns: tuple[Column, ...]

    @property
    def define(self) -> str:
        """The macro that makes this dimension part of the C key struct."""
        return "BY_" + self.name.upper()
