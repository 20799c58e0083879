"""The frame of a heat map: the document, its axes and its legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytracer.sinks.formatting import clock
from pytracer.sinks.heat import colour
from pytracer.sinks.svg import number, tag, text_of

WIDTH, LEFT, ABOVE = 1200, 90, 62
SHOWN = WIDTH - LEFT - 20
_TICKS = 8
_STYLE = """
svg { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 11px; }
text { fill: #111; }
.back { fill: #fdfdfb; }
.plot { fill: #f3f3ee; }
.head { font-size: 15px; text-anchor: middle; }
.panel { font-size: 13px; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.note { fill: #a01010; }
.grid { stroke: #d8d8d0; stroke-width: 0.6; }
.line { fill: none; stroke-width: 1.6; pointer-events: none; }
.cell:hover { stroke: #111; stroke-width: 1; }
"""
SCRIPT = """
"use strict";
(function () {
  var details = document.getElementById("details");
  document.querySelectorAll(".cell").forEach(function (cell) {
    var text = cell.querySelector("title").textContent;
    cell.addEventListener("mouseover", function () { details.textContent = text; });
    cell.addEventListener("mouseout", function () { details.textContent = " "; });
  });
})();
"""


def document(title: str, parts: Sequence[str], bottom: int, notes: Sequence[str], *, total: int) -> str:
    """Return the SVG document of the drawing, whose lower end is ``bottom``."""
    height = bottom + 16 * len(notes) + 10
    content = [
        tag("title", text_of(title)),
        tag("style", _STYLE),
        tag("rect", class_="back", width=WIDTH, height=height),
        tag("text", text_of(title), class_="head", x=WIDTH // 2, y=22),
        tag("text", " ", id="details", x=LEFT, y=42),
        *(parts or [tag("text", "nothing seen", x=LEFT, y=ABOVE)]),
        *(
            tag("text", text_of(note), class_="note", x=LEFT, y=bottom + 16 * index)
            for index, note in enumerate(notes)
        ),
        f"<script><![CDATA[{SCRIPT}]]></script>",
    ]
    attributes = {"viewBox": f"0 0 {WIDTH} {height}", "width": WIDTH, "height": height, "data_total": total}
    text = "\n" + "\n".join(content) + "\n"
    return tag("svg", text, xmlns="http://www.w3.org/2000/svg", **attributes) + "\n"


def time_axis(times: tuple[float, float], y: int, width: float = SHOWN) -> Iterator[str]:
    """Label points of time below a picture."""
    begin, end = times
    ticks = max(min(_TICKS, int(width) // 90), 1)
    for tick in range(ticks + 1):
        x = LEFT + width * tick / ticks
        moment = begin + (end - begin) * tick / ticks
        label = clock(moment) if end - begin > 2 * _TICKS else f"{moment - begin:.3g} s"
        yield tag("path", class_="grid", d=f"M{number(x)} {y}v4")
        yield tag("text", text_of(label), class_="middle", x=number(x), y=y + 15)


def counts_legend(maximum: int, y: int) -> Iterator[str]:
    """Explain the colours of counts up to ``maximum``."""
    yield tag("text", "1", class_="end", x=LEFT + 10, y=y)
    for index in range(24):
        yield tag("rect", x=LEFT + 16 + index * 10, y=y - 9, width=10, height=10, fill=colour(index / 23))
    yield tag("text", f"{maximum} in a cell", x=LEFT + 16 + 246, y=y)
