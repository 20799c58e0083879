"""Decoding columns: the decoder is asked once for each distinct value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytracer.arrays import Array, np
from pytracer.model import Coded

Decoder = Callable[[Any], str]
"""From one raw value to what people read. Never raises: what it does not know it calls ``unknown``."""


def decode(decoder: Decoder, values: Array) -> Coded:
    """Decode an array of shape (n,)."""
    distinct, codes = np.unique(values, return_inverse=True)
    names: dict[str, int] = {}
    # Two values may have one name; a column of names has each once.
    place = [names.setdefault(decoder(value), len(names)) for value in distinct.tolist()]
    if len(names) < len(place):
        codes = np.array(place)[codes]
    return Coded(tuple(names), codes)


def cut(values: Array) -> Array:
    """Strings of the C (dtype ``S``, shape (n,)) with nothing behind their end."""
    width = values.dtype.itemsize
    text = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), width)
    zero = text == 0
    ends = np.where(zero.any(axis=1), zero.argmax(axis=1), width)
    widest = int(ends.max(initial=0))
    text = np.where(np.arange(widest) < ends[:, None], text[:, :widest], 0).astype(np.uint8)
    return text.view(f"S{max(widest, 1)}").reshape(-1) if widest else np.zeros(len(values), dtype="S1")
