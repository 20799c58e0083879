"""Decode languages, and what their probes are about."""

from __future__ import annotations

from pytracer.spec.languages import LABELS, LANGUAGES

_INDENTED = 64  # depths that are told apart by indentation


def language(number: int) -> str:
    """Decode the index of a language: ``0`` -> ``python``."""
    return LANGUAGES[number].name if number < len(LANGUAGES) else f"unknown:{number}"


def language_label(number: int) -> str:
    """Decode the index of a label: ``1`` -> ``generation 1``."""
    return LABELS[number][1] if number < len(LABELS) else f"unknown:{number}"


def call_event(returned: int) -> str:
    """Decode whether a call returns: ``call`` or ``return``."""
    return "return" if returned else "call"


def call_nesting(nesting: int) -> str:
    """Decode twice the depth of a call, and 1 if it returns, as an indented arrow: ``4`` -> ``  ->``."""
    indentation = "  " * min(max(nesting >> 1, 1) - 1, _INDENTED)
    return indentation + ("<-" if nesting & 1 else "->")
