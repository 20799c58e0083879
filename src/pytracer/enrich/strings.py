"""Decode strings from the kernel, whose bytes any user may have chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytracer.text import all_from_bytes, from_bytes


def text(value: bytes) -> str:
    """Make the text of the bytes before the first NUL."""
    return from_bytes(value.partition(b"\0")[0])


def payload(value: bytes) -> str:
    """Decode the bytes, NUL included, that a program sent or received."""
    return from_bytes(value)


def texts(values: Sequence[bytes]) -> list[str]:
    """Make the texts of many values, each as :func:`text` does."""
    ended = b"\0".join(values).count(b"\0") == len(values) - 1
    return all_from_bytes(values if ended else [value.partition(b"\0")[0] for value in values])


ALL: Mapping[Callable[[Any], str], Callable[[Sequence[Any]], list[str]]] = {
    text: texts,
    payload: all_from_bytes,
}
"""For decoders that can: what decodes many values at once."""
