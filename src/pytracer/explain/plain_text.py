"""Render a page as plain text, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from pytracer.explain.page import Block, Fold, Grid, Page, PageStage, Paragraph, Raw, SideBySide, SourceBlock
from pytracer.text import harmless

_WIDTH = 78
_LONG = 24  # lines of a folded block that the whole page still shows
_PLACE = 34  # columns for the place of a line of C


def render(page: Page, stage: str = "") -> Iterator[str]:
    """Yield the lines of the page, or of the stage of that name: harmless to a terminal."""
    for line in _render_page(page, stage):
        yield harmless(line.rstrip())


def _render_page(page: Page, stage: str) -> Iterator[str]:
    if not stage:
        yield page.title
        yield f"    {page.command}"
        yield from (f"    {name}: {value}" for name, value in page.facts)
    for page_stage in page.stages:
        if stage in ("", page_stage.name):
            yield from _render_stage(page_stage, is_only=bool(stage))


def _render_stage(stage: PageStage, *, is_only: bool) -> Iterator[str]:
    """Render one stage; ``is_only``: with all folded blocks, otherwise long ones are replaced by their
    titles."""
    if not is_only:
        yield ""
        yield f"== {stage.title} {'=' * max(_WIDTH - len(stage.title) - 4, 4)}"
    yield from textwrap.wrap(stage.lead, _WIDTH)
    if stage.facts:
        yield ""
        width = max(len(name) for name, _ in stage.facts)
        yield from (f"  {name:<{width}}  {value}" for name, value in stage.facts)
    for block in stage.blocks:
        yield ""
        lines = list(_render_block(block))
        if is_only or not isinstance(block, Fold) or block.opened or len(lines) <= _LONG:
            yield from lines
        else:
            yield f"{lines[0]}: {len(lines) - 1} lines, which --stage {stage.name} shows"


def _render_block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph():
            label = f"{block.label}: " if block.label else ""
            yield from textwrap.wrap(label + block.text, _WIDTH)
        case Raw():
            yield from block.text.splitlines()
        case Grid():
            yield from _render_grid(block)
        case SourceBlock():
            yield from _render_source(block)
        case SideBySide():
            yield from _render_side_by_side(block)
        case Fold():
            yield f"-- {block.title}"
            for number, inner in enumerate(block.blocks):
                if number:
                    yield ""
                yield from _render_block(inner)


def _render_grid(grid: Grid) -> Iterator[str]:
    rows = [grid.columns, *grid.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(grid.columns))]
    for number, row in enumerate(rows):
        mark = "*" if number - 1 in grid.strong else " "
        yield f"{mark} " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))


def _render_source(source: SourceBlock) -> Iterator[str]:
    by_line = dict(source.made)
    yield f"{source.file}:"
    for number, line in enumerate(source.lines, source.first):
        mark = ">" if number in source.marked else " "
        count = f"{by_line[number]:>3}" if number in by_line else "   "
        yield f"{mark}{count} {number:>4}  {line.expandtabs(4)}"


def _render_side_by_side(listing: SideBySide) -> Iterator[str]:
    for pair in listing.pairs:
        location = f"{pair.file}:{pair.line}" if pair.file else "no line of C"
        yield f"{location:<{_PLACE}} {pair.text}"
        width = max(len(code_line.number) for code_line in pair.code) if pair.code else 0
        for code_line in pair.code:
            yield f"    {code_line.number:>{width}}: {code_line.text}" + (
                f"  -> {code_line.target}" if code_line.target else ""
            )
