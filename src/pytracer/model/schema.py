"""The columns of a tracer's rows: key columns first, then values."""

from __future__ import annotations

from pytracer.record import record
from pytracer.spec.columns import Column
from pytracer.spec.outputs import Histogram, Listing, Output, Profile, Stacks, Stream


@record
class Schema:
    """The columns of one output as one run shows them.

    ``keys`` identify a row, ``values`` are its counters (and ``last`` columns, which follow the keys).
    """

    tracer: str
    keys: tuple[Column, ...]
    values: tuple[Column, ...]
    output: Output

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns in the order they are shown."""
        last_columns = tuple(column for column in self.values if column.last)
        return self.keys + last_columns + tuple(column for column in self.values if not column.last)

    @property
    def is_histogram(self) -> bool:
        """True if rows are histograms."""
        return isinstance(self.output, Histogram)

    @property
    def is_stream(self) -> bool:
        """True if rows are events, each shown as it happens."""
        return isinstance(self.output, Stream)

    @property
    def is_listing(self) -> bool:
        """True if rows are existing things, each shown once."""
        return isinstance(self.output, Listing)

    @property
    def is_stacks(self) -> bool:
        """True if rows are stacks."""
        return isinstance(self.output, Stacks)

    @property
    def is_profile(self) -> bool:
        """True if the output is one seccomp profile."""
        return isinstance(self.output, Profile)

    @property
    def counters(self) -> tuple[Column, ...]:
        """The value columns that add up: over CPUs, and over time."""
        return tuple(c for c in self.values if c.ratio is None and not c.last and not c.max)

    @property
    def maxima(self) -> tuple[Column, ...]:
        """The value columns of which the greatest counts."""
        return tuple(column for column in self.values if column.max)
