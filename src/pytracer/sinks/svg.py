"""SVG: text of the traced system is escaped here and nowhere else."""

from __future__ import annotations

import html

from pytracer.text import harmless

CHARACTER = 0.62  # width of a character of a monospaced font, as a share of its size


def text_of(text: str) -> str:
    """Escape text for a place between tags, or between quotes: XML has no control characters."""
    return html.escape(harmless(text), quote=True)


def tag(name: str, content: str = "", **attributes: object) -> str:
    """Make an element; ``content`` is XML, attributes are text. ``_`` in their names is ``-`` (``class_``:
    ``class``)."""
    words = [
        f'{key.rstrip("_").replace("_", "-")}="{text_of(str(value))}"' for key, value in attributes.items()
    ]
    return f"<{' '.join([name, *words])}>{content}</{name}>" if content else f"<{' '.join([name, *words])}/>"


def number(value: float) -> str:
    """Format a coordinate: short, and the same on every machine."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def fitting(text: str, width: float, size: float) -> str:
    """Cut a label to a width; return "" if too little of it would be left."""
    max_length = int(width / (size * CHARACTER))
    if len(text) <= max_length:
        return text
    return text[: max_length - 2] + ".." if max_length > 4 else ""
