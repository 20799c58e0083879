"""Decode languages, and what their probes are about."""

from __future__ import annotations

from pytracer.spec.languages import LABELS, LANGUAGES


def language(number: int) -> str:
    """Decode the index of a language: ``0`` -> ``python``."""
    return LANGUAGES[number].name if number < len(LANGUAGES) else f"unknown:{number}"


def language_label(number: int) -> str:
    """Decode the index of a label: ``1`` -> ``generation 1``."""
    return LABELS[number][1] if number < len(LABELS) else f"unknown:{number}"
