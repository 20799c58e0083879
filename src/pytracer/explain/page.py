"""A page as data: stages of blocks. Nothing here is escaped: the renderers do that."""

from __future__ import annotations

from pytracer.record import record

Facts = tuple[tuple[str, str], ...]
"""Pairs of name and value, shown in a row."""


@record
class Paragraph:
    """A paragraph with a label ("": none)."""

    text: str
    label: str = ""


@record
class Grid:
    """A table. The rows whose indices are in ``strong`` are highlighted."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: frozenset[int] = frozenset()


@record
class SourceBlock:
    """Lines of C from a file, the first of which has the number ``first``. ``made`` has the number of
    instructions of lines that have any; ``marked`` are the lines to highlight."""

    file: str
    first: int
    lines: tuple[str, ...]
    made: tuple[tuple[int, int], ...] = ()
    marked: frozenset[int] = frozenset()


@record
class CodeLine:
    """An instruction: its ``number`` (or address), its text, and the number of its jump target."""

    number: str
    text: str
    target: str = ""


@record
class Pair:
    """A line of C (``file`` is "" if it is unknown), and its instructions."""

    file: str
    line: int
    text: str
    code: tuple[CodeLine, ...]


@record
class SideBySide:
    """Instructions beside their C; ``name`` is unique on a page."""

    name: str
    pairs: tuple[Pair, ...]


@record
class Raw:
    """Preformatted text."""

    text: str


@record
class Fold:
    """Blocks that can be folded away; ``opened``: initially shown."""

    title: str
    blocks: tuple[Block, ...]
    opened: bool = False


Block = Paragraph | Grid | SourceBlock | SideBySide | Raw | Fold


@record
class PageStage:
    """A part of the page: ``name`` is its ``--stage`` name, ``lead`` its introduction."""

    name: str
    title: str
    lead: str
    blocks: tuple[Block, ...]
    facts: Facts = ()


@record
class Page:
    """A whole page. ``command`` is the command line that runs the explained tracer."""

    title: str
    command: str
    facts: Facts
    stages: tuple[PageStage, ...]
