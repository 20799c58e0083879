"""What a question is, as it was read, and what its answers are, as records hold them."""

from __future__ import annotations

from enum import Enum

from pytracer.lang.formats import Conversion
from pytracer.lang.syntax import Node, Parameter, TypeName
from pytracer.record import record
from pytracer.spec import Source


@record
class Expression:
    """One that is asked for: as it was written, and as it was read. ``type`` is what it is to be made."""

    text: str
    node: Node
    type: TypeName | None = None


@record
class ProbeSpec:
    """``text`` is all of it, as the user wrote it; ``pieces`` are those of its format string, ``label`` is
    what it is called."""

    text: str
    source: Source
    signature: tuple[Parameter, ...] = ()
    filter: Node | None = None
    pieces: tuple[str | Conversion, ...] = ()
    expressions: tuple[Expression, ...] = ()
    label: str = ""

    @property
    def conversions(self) -> tuple[Conversion, ...]:
        """Those of the format string, one for each expression."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Conversion))


class ResultSlot(Enum):
    """What an answer is in a record."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    BOOL = "bool"
    CHARACTER = "character"
    TEXT = "text"
    KERNEL_SYMBOL = "kernel symbol"
    USER_SYMBOL = "user symbol"


@record
class ResultField:
    """One value of a record. ``name`` is the expression as it was written, ``at`` which of the record's
    numbers (or, of TEXT, texts) it is, and ``bit`` which bit of ``missing`` says that it could not be
    read."""

    name: str
    slot: ResultSlot
    at: int
    bit: int


@record
class ProbeSpecs:
    """All questions of a run, and the ``answers`` of each; ``of`` is which question a target's number
    belongs to. A record has room for ``numbers`` numbers, and ``texts`` texts of ``room`` bytes."""

    specs: tuple[ProbeSpec, ...] = ()
    answers: tuple[tuple[ResultField, ...], ...] = ()
    of: tuple[int, ...] = ()
    numbers: int = 1
    texts: int = 1
    room: int = 80

    @property
    def names(self) -> tuple[str, ...]:
        """What each question is called: its label, or the probe that it is about, or where two are about one,
        all of it."""
        probes = [question.source.text for question in self.specs]
        return tuple(
            question.label or (probe if probes.count(probe) == 1 else question.text)
            for question, probe in zip(self.specs, probes, strict=True)
        )
