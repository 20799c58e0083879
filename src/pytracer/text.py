"""Strings that anybody may have chosen, made fit for a terminal. Imports nothing: errors need it."""

from __future__ import annotations


def harmless(text: str) -> str:
    """``text`` with everything that a terminal might obey (or that hides) written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
