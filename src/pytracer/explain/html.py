"""Render a page as one HTML file: self-contained, light or dark as the browser is, readable without scripts.

Traced processes choose some of the text in a page: all text is escaped, here and nowhere else.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from pytracer.explain.page import (
    Block,
    CodeLine,
    Fold,
    Grid,
    Page,
    PageStage,
    Pair,
    Paragraph,
    Raw,
    SideBySide,
    SourceBlock,
)
from pytracer.explain.style import CSS, SCRIPT
from pytracer.text import harmless

_UNSAFE = re.compile(r"[^\w.-]+")
# The classes of tokens with colours, by the prefix of Pygments' names.
_COLOURS = {
    "Token.Comment.Preproc": "tk",
    "Token.Comment": "tc",
    "Token.Keyword.Type": "tt",
    "Token.Keyword": "tk",
    "Token.Literal.Number": "tn",
    "Token.Literal.String": "ts",
}


def render(page: Page) -> str:
    """Return the whole file."""
    return "".join(_render_page(page))


def _render_page(page: Page) -> Iterator[str]:
    name, _, subtitle = page.title.partition(": ")
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{_escape(page.title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
    yield f"<header><h1><b>{_escape(name)}</b> {_escape(subtitle)}</h1>\n"
    yield f'<code class="command">{_escape(page.command)}</code>\n'
    yield f"{_render_facts(page.facts)}</header>\n<nav><div>"
    for number, stage in enumerate(page.stages, 1):
        yield f'<a href="#s{number}"><i>{number}</i>{_escape(stage.title)}</a>'
    yield "</div></nav>\n<main>\n"
    for number, stage in enumerate(page.stages, 1):
        yield from _render_stage(number, stage)
    yield "</main>\n<footer>Made by pytracer, of what this kernel said.</footer>\n"
    yield f"<script>{SCRIPT}</script>\n</body>\n</html>\n"


def _render_stage(number: int, stage: PageStage) -> Iterator[str]:
    yield f'<details open class="stage {_make_slug(stage.name)}" id="s{number}">'
    yield f"<summary><i>{number}</i><h2>{_escape(stage.title)}</h2></summary>\n"
    yield f'<p class="lead">{_escape(stage.lead)}</p>\n{_render_facts(stage.facts)}'
    for block in stage.blocks:
        yield from _render_block(block)
    yield "</details>\n"


def _render_facts(facts: tuple[tuple[str, str], ...]) -> str:
    if not facts:
        return ""
    return (
        "<dl>"
        + "".join(f"<div><dt>{_escape(n)}</dt><dd>{_escape(v)}</dd></div>" for n, v in facts)
        + "</dl>\n"
    )


def _render_block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph():
            label = f"<b>{_escape(block.label)}</b> " if block.label else ""
            yield f"<p>{label}{_escape(block.text)}</p>\n"
        case Raw():
            lines = "\n".join(_escape(line) for line in block.text.splitlines())
            yield f"<pre>{lines}</pre>\n"
        case Grid():
            yield from _render_grid(block)
        case SourceBlock():
            yield from _render_source(block)
        case SideBySide():
            yield from _render_side_by_side(block)
        case Fold():
            yield f'<details class="fold"{" open" if block.opened else ""}>'
            yield f'<summary>{_escape(block.title)}</summary><div class="in">\n'
            for inner in block.blocks:
                yield from _render_block(inner)
            yield "</div></details>\n"


def _render_grid(grid: Grid) -> Iterator[str]:
    yield '<div class="wide"><table class="grid"><thead><tr>'
    yield "".join(f"<th>{_escape(name)}</th>" for name in grid.columns)
    yield "</tr></thead><tbody>\n"
    for number, row in enumerate(grid.rows):
        strong = ' class="strong"' if number in grid.strong else ""
        yield f"<tr{strong}>" + "".join(f"<td>{_escape(cell)}</td>" for cell in row) + "</tr>\n"
    yield "</tbody></table></div>\n"


def _render_source(source: SourceBlock) -> Iterator[str]:
    by_line = dict(source.made)
    yield f'<div class="file">{_escape(source.file)}</div><div class="source mono">'
    for number, line in enumerate(_highlight(source.lines), source.first):
        marked = ' class="marked"' if number in source.marked else ""
        key = f' data-line="{_escape(f"{source.file}:{number}")}"' if number in by_line else ""
        count = str(by_line.get(number, ""))
        yield f'<div{marked}{key}><span class="k">{count}</span><span class="n">{number}</span>'
        yield f"<span>{line}</span></div>\n"
    yield "</div>\n"


def _render_side_by_side(listing: SideBySide) -> Iterator[str]:
    yield '<div class="beside mono">'
    lines = _highlight(tuple(pair.text for pair in listing.pairs))
    for pair, text in zip(listing.pairs, lines, strict=True):
        yield _render_pair(listing.name, pair, text)
    yield "</div>\n"


def _render_pair(name: str, pair: Pair, text: str) -> str:
    location = f"{pair.file}:{pair.line}" if pair.file else "no line of C"
    left = f'<div class="left"><small>{_escape(location)}</small>{text}</div>'
    right = "".join(_render_code(name, code_line) for code_line in pair.code)
    return f'<div class="pair" data-line="{_escape(location)}">{left}<div class="right">{right}</div></div>\n'


def _render_code(name: str, code_line: CodeLine) -> str:
    jump = ""
    if code_line.target:
        anchor = _make_slug(f"{name}-{code_line.target}")
        jump = f'<a href="#{anchor}">&#8594;&#8202;{_escape(code_line.target)}</a>'
    anchor = _make_slug(f"{name}-{code_line.number}")
    return f'<span id="{anchor}"><b>{_escape(code_line.number)}</b>{_escape(code_line.text)}{jump}</span>'


def _highlight(lines: tuple[str, ...]) -> list[str]:
    """Return C as HTML, line by line; with syntax colours if Pygments is installed."""
    try:
        from pygments.lexers.c_cpp import CLexer
    except ImportError:
        return [_escape(line) for line in lines]
    clean = "\n".join(harmless(line.expandtabs(4)) for line in lines)
    pieces = [""]
    for kind, value in CLexer(stripnl=False, ensurenl=False).get_tokens(clean):
        colour = next((name for begin, name in _COLOURS.items() if str(kind).startswith(begin)), "")
        for number, part in enumerate(value.split("\n")):
            if number:
                pieces.append("")
            if part:
                escaped = html.escape(part)
                pieces[-1] += f'<span class="{colour}">{escaped}</span>' if colour else escaped
    return pieces if len(pieces) == len(lines) else [_escape(line) for line in lines]


def _escape(text: str) -> str:
    return html.escape(harmless(text))


def _make_slug(text: str) -> str:
    """Reduce text to letters, digits, dots and dashes, which are safe in an attribute and after a #."""
    return _UNSAFE.sub("-", text)
