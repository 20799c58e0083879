"""Decode strings from the kernel, whose bytes any user may have chosen."""

from __future__ import annotations

from pytracer.text import from_bytes


def text(value: bytes) -> str:
    """Make the text of the bytes before the first NUL."""
    return from_bytes(value.partition(b"\0")[0])


def payload(value: bytes) -> str:
    """Decode the bytes, NUL included, that a program sent or received."""
    return from_bytes(value)
