"""The shapes of output. A tracer names one (or several, picked by a flag); sinks know how to show each."""

from __future__ import annotations

from dataclasses import dataclass

from pytracer.spec.columns import Column, Unit
from pytracer.spec.hooks import Hook

KERNEL_FRAMES = Column(
    "kernel", "functions of the kernel, innermost first", field="kernel_stack", decode="stack"
)
USER_FRAMES = Column("user", "functions of the program, innermost first", field="user_stack", decode="stack")


@dataclass(frozen=True)
class Output:
    """Base: the BPF ``map`` it is read from, its value columns, the flag (``when``) that picks it.

    ``keys`` are key columns of this output alone, beside those that rows are grouped by. ``hooks`` are what
    it needs, if not the tracer's.
    """

    map: str
    columns: tuple[Column, ...]
    when: str = ""
    keys: tuple[Column, ...] = ()
    hooks: tuple[Hook, ...] = ()


@dataclass(frozen=True)
class Table(Output):
    """Rows of counters, the greatest ``sort`` first, every interval and once for the whole run.

    ``dense`` names a per-CPU array that, where the C has it, holds the rows whose one key column is a small
    number: its index.
    """

    sort: str = ""
    dense: str = ""


@dataclass(frozen=True)
class Profile(Table):
    """The calls of rows by system call, as a seccomp profile: of a command alone, and of the whole run."""


@dataclass(frozen=True)
class Histogram(Output):
    """Power-of-two buckets per row: the map's key has a member ``slot``, and the one counter column says
    how many values fell into it.

    Slot ``s`` holds values ``v`` with ``floor(log2(v)) == s`` (0 and 1 both in slot 0).
    """

    unit: Unit = Unit.NANOSECONDS
    label: str = ""


@dataclass(frozen=True)
class Stream(Output):
    """One line an event, as it happens. ``map`` is the ring of probes_c/include/stream.h, the columns are
    members of ``struct event``."""

    map: str = "events"
    columns: tuple[Column, ...] = ()


@dataclass(frozen=True)
class Listing(Stream):
    """One line for each thing that there is, once: by an :class:`~pytracer.spec.Iterator`, whose program is
    written with probes_c/include/listing.h."""

    map: str = "pt_record"


@dataclass(frozen=True)
class Stacks(Output):
    """Counters a stack, the greatest first: probes_c/include/stack.h, the members of whose
    ``struct pt_stacks`` are in the map's key. The first of the columns ranks them."""

    keys: tuple[Column, ...] = (KERNEL_FRAMES, USER_FRAMES)
