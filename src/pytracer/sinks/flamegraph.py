"""Flame graphs: one SVG file that needs nothing else. It can be read without scripts; a browser zooms and
searches.

The script in it (:mod:`pytracer.sinks.flamegraph_script`) is always the same text: names that the traced
system chose are in elements and attributes alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TextIO

from pytracer.model import Item, Loss, Schema
from pytracer.record import record
from pytracer.sinks.call_tree import CallNode, Placed, call_tree, place
from pytracer.sinks.flamegraph_script import SCRIPT, STYLE
from pytracer.sinks.formatting import cell, duration
from pytracer.sinks.stack_samples import Part, StackSamples, StackSink
from pytracer.sinks.svg import fitting, number, tag, text_of
from pytracer.spec import Column, Unit
from pytracer.text import harmless

WIDTH, HEIGHT, SIZE = 1200, 16, 11  # of the picture; of a frame; of the font, in pixels
_SIDE, _ABOVE, _BELOW = 10, 44, 40
_SHOWN = WIDTH - 2 * _SIDE
_HUES = {
    Part.USER: (18, 42, 90),
    Part.KERNEL: (195, 220, 75),
    Part.NAME: (90, 100, 18),
    Part.WAKER: (0, 1, 0),
}
_LEGEND = ((Part.USER, "program"), (Part.KERNEL, "kernel"))


@record
class Picture:
    """The text around a flame graph, and its form: the ``column`` that widths stand for, whether callers are
    above what they call (``icicle``), and ``notes`` below it."""

    title: str
    column: Column
    icicle: bool = False
    notes: tuple[str, ...] = ()


class FlameGraphSink(StackSink):
    """Draws the stacks of a whole run. Losses are a stack of their own, and a line below."""

    def __init__(self, stream: TextIO, *, icicle: bool = False) -> None:
        super().__init__(stream)
        self._icicle = icicle
        self._notes: list[str] = []

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        super().emit(item)
        if isinstance(item, Loss):
            self._notes.append(f"lost: {item.lost} {item.meaning}")

    def write(self, schema: Schema, samples: StackSamples) -> None:
        """See :class:`~pytracer.sinks.stack_samples.StackSink`."""
        tree = call_tree((stack, counts[:1]) for stack, counts in samples.ranked())
        column = schema.counters[0]
        title = f"{schema.tracer}: {_format_count(tree.counts[-1], column)} in {samples.seconds:.1f} s"
        picture = Picture(title, column, self._icicle, tuple(self._notes))
        self.stream.write(draw(tree, picture))


def draw(root: CallNode, picture: Picture) -> str:
    """Draw a tree of calls as an SVG document; where it has two counts, their difference."""
    placed_nodes, left_out = place(root)
    notes = list(picture.notes)
    if left_out:
        notes.append(f"{left_out} narrow frames are not drawn; their counts are in the frames around them")
    depth = max((frame.depth for frame in placed_nodes), default=0) + 1
    bottom = _ABOVE + depth * HEIGHT
    total = root.counts[-1]
    frames = [_draw_frame(frame, root, picture, depth) for frame in placed_nodes] if total else []
    height = bottom + _BELOW + HEIGHT * len(notes)
    parts = [
        tag("title", text_of(picture.title)),
        tag("style", STYLE),
        tag("rect", class_="back", width=WIDTH, height=height),
        tag("text", text_of(picture.title), class_="head", x=WIDTH // 2, y=22),
        tag("text", "reset zoom", id="reset", class_="button", x=_SIDE, y=22),
        _search_box(),
        tag("g", "\n".join(frames) or tag("text", "nothing seen", x=_SIDE, y=_ABOVE + 12), id="frames"),
        tag("text", " ", id="details", x=_SIDE, y=bottom + 16),
        tag("text", " ", id="matched", class_="end", x=WIDTH - _SIDE, y=bottom + 16),
        *_draw_legend(bottom + 32, is_diff=len(root.counts) > 1),
        *(
            tag("text", text_of(note), class_="note", x=_SIDE, y=bottom + 32 + HEIGHT * (index + 1))
            for index, note in enumerate(notes)
        ),
        f"<script><![CDATA[{SCRIPT}]]></script>",
    ]
    return (
        tag(
            "svg",
            "\n" + "\n".join(parts) + "\n",
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {WIDTH} {height}",
            width=WIDTH,
            height=height,
            data_total=total,
            data_unit=picture.column.unit.value or "count",
            class_="compared" if len(root.counts) > 1 else "stacks",
        )
        + "\n"
    )


def _search_box() -> str:
    box = tag(
        "input",
        xmlns="http://www.w3.org/1999/xhtml",
        id="search",
        type="search",
        placeholder="search (Ctrl-F)",
    )
    return tag("foreignObject", box, x=WIDTH - _SIDE - 250, y=6, width=250, height=26)


def _draw_legend(y: int, *, is_diff: bool) -> list[str]:
    if is_diff:
        entries = [("#d4401f", "grew"), ("#ffffff", "as before"), ("#2f6fd0", "shrank")]
    else:
        entries = [(_choose_colour("", part), text) for part, text in _LEGEND]
    parts = []
    for index, (colour, text) in enumerate(entries):
        x = _SIDE + index * 90
        parts.append(tag("rect", x=x, y=y - 9, width=10, height=10, fill=colour, stroke="#888"))
        parts.append(tag("text", text, x=x + 15, y=y))
    return parts


def _draw_frame(placed_node: Placed, root: CallNode, picture: Picture, depth: int) -> str:
    node, total = placed_node.node, root.counts[-1]
    count = node.counts[-1]
    x, width = _SIDE + placed_node.begin * _SHOWN / total, count * _SHOWN / total
    row = placed_node.depth if picture.icicle else depth - 1 - placed_node.depth
    y = _ABOVE + row * HEIGHT
    name = harmless(node.name)
    colour = (
        _choose_difference_colour(node, root)
        if len(node.counts) > 1
        else _choose_colour(node.name, node.part)
    )
    content = [
        tag("title", text_of(_format_tooltip(node, root, picture.column))),
        tag("rect", x=number(x), y=y, width=number(width), height=HEIGHT - 1, fill=colour),
    ]
    label = fitting(name, width - 6, SIZE)
    content.append(tag("text", text_of(label), x=number(x + 3), y=y + 11.5) if label else "")
    return tag(
        "g",
        "".join(content),
        class_=node.part.value,
        data_x=placed_node.begin,
        data_n=count,
        data_d=placed_node.depth,
        data_name=name,
    )


def _format_tooltip(node: CallNode, root: CallNode, column: Column) -> str:
    total = root.counts[-1]
    if len(node.counts) > 1:
        before, after = node.counts
        grown = (
            f"{after - before:+d}" if column.unit is not Unit.NANOSECONDS else _format_signed(after - before)
        )
        shares = f"{_format_percent(before, root.counts[0])} to {_format_percent(after, total)}"
        return f"{node.name}: {cell(before, column)} before, {cell(after, column)} after ({grown}), {shares}"
    own_text = f", {cell(node.own[-1], column)} of its own" if node.own[-1] != node.counts[-1] else ""
    count = node.counts[-1]
    return f"{node.name}: {_format_count(count, column)}, {_format_percent(count, total)}{own_text}"


def _format_count(count: int, column: Column) -> str:
    return (
        f"{cell(count, column)} {column.header.lower()}"
        if column.unit is not Unit.NANOSECONDS
        else cell(count, column)
    )


def _format_signed(nanoseconds: int) -> str:
    return f"{'-' if nanoseconds < 0 else '+'}{duration(abs(nanoseconds))}"


def _format_percent(count: int, total: int) -> str:
    return f"{100 * count / total:.2f}%" if total else "-"


def _choose_colour(name: str, part: Part) -> str:
    """Return a colour for a name, the same in every picture: programs are warm, the kernel is cool."""
    if part is Part.LOST:
        return "#e03131"
    low, high, saturation = _HUES[part]
    seed = zlib.crc32(name.encode("utf-8", "backslashreplace"))
    return f"hsl({low + seed % (high - low)},{saturation}%,{66 + (seed >> 8) % 14}%)"


def _choose_difference_colour(node: CallNode, root: CallNode) -> str:
    """Return red if the share of the whole grew, blue if it shrank: saturated at a tenth of the whole."""
    before, after = (counts / max(total, 1) for counts, total in zip(node.counts, root.counts, strict=True))
    strength = min(abs(after - before) * 10, 1.0)
    hue, saturation = 8 if after > before else 216, round(80 * min(1, strength * 4))
    return f"hsl({hue},{saturation}%,{round(100 - 45 * strength)}%)"


def compare(samples: Sequence[tuple[Sequence[str], Sequence[int]]], picture: Picture) -> str:
    """Draw stacks with two counts each, before and after: frames are as wide as after."""
    root = call_tree((([(name, Part.USER) for name in names], counts) for names, counts in samples), 2)
    vanished_count = sum(counts[0] for _, counts in samples if not counts[1])
    notes = picture.notes
    if vanished_count:
        counted = _format_count(vanished_count, picture.column)
        notes += (f"{counted} before were in stacks that are no more, and have no width",)
    return draw(root, Picture(picture.title, picture.column, picture.icicle, notes))
