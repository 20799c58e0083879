"""Strings from the kernel: bytes that anybody may have chosen."""

from __future__ import annotations

from pytracer.text import from_bytes


def text(value: bytes) -> str:
    """Make the text of the bytes before the first NUL."""
    return from_bytes(value.partition(b"\0")[0])


def payload(value: bytes) -> str:
    """Make text of all bytes, NUL included, that a program sent or got."""
    return from_bytes(value)
