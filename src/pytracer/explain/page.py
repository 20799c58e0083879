"""What a page is: stages of blocks, as data. Nothing here is escaped: who writes it down does that."""

from __future__ import annotations

from pytracer.record import record

Facts = tuple[tuple[str, str], ...]
"""Names and what they come to, to be shown in a row."""


@record
class Words:
    """A paragraph, and what it is about ("": that needs no saying)."""

    text: str
    label: str = ""


@record
class Grid:
    """A table. The rows whose numbers are in ``strong`` matter more than others."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: frozenset[int] = frozenset()


@record
class SourceBlock:
    """Lines of C from a file, the first of which has the number ``first``. ``made`` says for the lines that
    came to instructions how many; ``marked`` are the lines that this is about."""

    file: str
    first: int
    lines: tuple[str, ...]
    made: tuple[tuple[int, int], ...] = ()
    marked: frozenset[int] = frozenset()


@record
class CodeLine:
    """An instruction: its ``number`` (or address), its text, and the number of the one that it jumps to."""

    number: str
    text: str
    target: str = ""


@record
class Pair:
    """A line of C (``file`` is "" where nobody knows it), and the instructions that it came to, there."""

    file: str
    line: int
    text: str
    code: tuple[CodeLine, ...]


@record
class Beside:
    """Instructions with the C that they were made of; ``name`` is different for each of them on a page."""

    name: str
    pairs: tuple[Pair, ...]


@record
class Raw:
    """Text whose lines and columns stay as they are."""

    text: str


@record
class Fold:
    """Blocks that can be folded away; ``opened``: that are not, at first."""

    title: str
    blocks: tuple[Block, ...]
    opened: bool = False


Block = Words | Grid | SourceBlock | Beside | Raw | Fold


@record
class PageStage:
    """A part of the page: ``name`` is what ``--stage`` calls it, ``lead`` what there is to see."""

    name: str
    title: str
    lead: str
    blocks: tuple[Block, ...]
    facts: Facts = ()


@record
class Page:
    """All of it. ``command`` is the line that would run what is explained."""

    title: str
    command: str
    facts: Facts
    stages: tuple[PageStage, ...]
