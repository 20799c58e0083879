"""Widgets that draw lines of plain text: nothing in it is markup, and only lines that change are drawn."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

PLAIN, BOLD = Style(), Style(bold=True)
HEAD = Style(bold=True)
CURSOR = Style(reverse=True)
ALARM = Style(color="red", bold=True, reverse=True)
TREND = Style(color="cyan")
KEY = Style(bold=True)
DIM = Style(color="bright_black")

Part = tuple[str, Style]
"""A text and its style."""


def strip(parts: Sequence[Part], width: int) -> Strip:
    """Return a line of ``width`` characters of the terminal."""
    segments, left = list[Segment](), width
    for text, style in parts:
        segment = Segment(text, style)
        if left <= 0:
            break
        if segment.cell_length > left:
            segment = Segment(set_cell_size(text, left), style)
        segments.append(segment)
        left -= segment.cell_length
    if left > 0:
        segments.append(Segment(" " * left, parts[-1][1] if parts and parts[-1][1] is CURSOR else PLAIN))
    return Strip(segments, width)


class Lines(Widget):
    """Some lines of text."""

    def __init__(self, identifier: str) -> None:
        """Create an empty widget."""
        super().__init__(id=identifier)
        self._drawn: list[Sequence[Part]] = []

    def draw(self, lines: Sequence[Sequence[Part]]) -> None:
        """Show these lines; those that are the same as before are not sent to the terminal again."""
        before, self._drawn = self._drawn, [list(line) for line in lines]
        changed = [
            number
            for number in range(max(len(before), len(self._drawn)))
            if before[number : number + 1] != self._drawn[number : number + 1]
        ]
        if changed:
            self.refresh(*(Region(0, number, self.size.width, 1) for number in changed))

    def render_line(self, y: int) -> Strip:
        """Return a line for Textual."""
        line = self._drawn[y] if y < len(self._drawn) else ()
        return strip(line, self.size.width)

    @property
    def text(self) -> str:
        """The lines on the screen."""
        return "\n".join("".join(text for text, _ in line) for line in self._drawn)
