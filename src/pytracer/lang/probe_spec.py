"""The data of a parsed probe spec, and the layout of its results in records."""

from __future__ import annotations

from enum import Enum

from pytracer.lang.formats import Conversion
from pytracer.lang.syntax import Node, Parameter, TypeName
from pytracer.record import record
from pytracer.spec import Source


@record
class Expression:
    """An expression: its text, and the parsed node. ``type`` is a cast that applies to the result. ``whole``
    is the text that the node's positions refer to, if that is not the probe spec."""

    text: str
    node: Node
    type: TypeName | None = None
    whole: str = ""


@record
class ProbeSpec:
    """A parsed probe spec. ``text`` is the whole of it, as the user wrote it; ``pieces`` are those of its
    format string, ``label`` is its displayed name. ``is_bare``: there is no format string. ``key`` and ``by``
    are for an end of a pair of events: the key that matches the two, and the values that group pairs."""

    text: str
    source: Source
    signature: tuple[Parameter, ...] = ()
    filter: Node | None = None
    pieces: tuple[str | Conversion, ...] = ()
    expressions: tuple[Expression, ...] = ()
    label: str = ""
    is_bare: bool = False
    key: Expression | None = None
    by: tuple[Expression, ...] = ()

    @property
    def conversions(self) -> tuple[Conversion, ...]:
        """The conversions of the format string, one for each expression."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Conversion))


STARTED = "started"
"""The member of a pair's record that has the results of its start."""


class ResultSlot(Enum):
    """The type of a result in a record."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    BOOL = "bool"
    CHARACTER = "character"
    TEXT = "text"
    KERNEL_SYMBOL = "kernel symbol"
    USER_SYMBOL = "user symbol"


@record
class ResultField:
    """One result in a record. ``name`` is the expression's text, ``at`` the index among the record's
    numbers (or, for TEXT, texts), and ``bit`` the bit of ``unread`` that is set if it could not be read.
    ``member`` is the record's member with the results."""

    name: str
    slot: ResultSlot
    at: int
    bit: int
    member: str = "results"


@record
class ProbeSpecs:
    """All probe specs of a run, and the ``results`` of each; ``of`` maps a target's number to its spec. A
    record has room for ``numbers`` numbers, and ``texts`` texts of ``capacity`` bytes. ``is_pair``: a record
    has the results of both specs, those of the first in its member :data:`STARTED`."""

    specs: tuple[ProbeSpec, ...] = ()
    fields: tuple[tuple[ResultField, ...], ...] = ()
    of: tuple[int, ...] = ()
    numbers: int = 1
    texts: int = 1
    capacity: int = 80
    is_pair: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The displayed name of each probe spec: its label, or its probe, or its whole text if several
        specs have that probe."""
        probes = [spec.source.text for spec in self.specs]
        return tuple(
            spec.label or (probe if probes.count(probe) == 1 else spec.text)
            for spec, probe in zip(self.specs, probes, strict=True)
        )
