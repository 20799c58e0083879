"""Decoding columns: the decoder is asked once for each distinct value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytracer.arrays import Array, np

Decoder = Callable[[Any], str]
"""From one raw value to what people read. Never raises: what it does not know it calls ``unknown``."""


def decode(decoder: Decoder, values: Array) -> list[str]:
    """Decode an array of shape (n,)."""
    distinct, inverse = np.unique(values, return_inverse=True)
    names = [decoder(value) for value in distinct.tolist()]
    return [names[i] for i in inverse.tolist()]
