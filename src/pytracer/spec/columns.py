"""Columns: declared once, used by every table, JSON field, CSV header and help page."""

from __future__ import annotations

from enum import Enum

from pytracer.record import record


class Unit(Enum):
    """The unit of a number; a sink decides how to format it, the number itself stays exact."""

    NONE = ""
    COUNT = "count"
    NANOSECONDS = "ns"
    BYTES = "bytes"
    PERCENT = "%"


@record
class Column:
    """One column of an output.

    ``field`` is the member of the compiled C struct it comes from (default: ``name``). ``decode`` names a
    decoder of :mod:`pytracer.enrich` that turns the raw value into text. ``ratio`` makes it a derived
    column, the quotient of two others (rounded down; null if the divisor is 0), in hundredths if its unit
    is PERCENT. ``last`` marks a value that is no counter: the most recent of the per-CPU copies is shown, and
    a member ``seen`` (ns) of the C struct says how recent each is. ``max`` marks a column that is a maximum
    over CPUs and over time, not a sum. ``width`` is the column's width in a table of events, which cannot
    wait for the longest value (default: the heading's, and what numbers commonly take). ``null`` is the raw
    value that means null (null in JSON, a dash in tables). ``computed``: a function of its own makes it of
    several members.
    ``wide`` columns are left out of tables, unless ``--wide`` asks for them. ``on_cpu`` marks a time that the
    thread spent on the CPU of the column ``cpu``: timelines show it there, too.
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
    on_cpu: bool = False

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
        """True if its values are text once decoded (left-aligned in tables)."""
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
