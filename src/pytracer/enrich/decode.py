"""Decode columns: each distinct value is decoded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytracer.arrays import Array, np
from pytracer.model import Coded

Decoder = Callable[[Any], str]
"""Converts a raw value to text. Never raises: an unknown value becomes ``unknown``."""

Computed = Callable[[Array], Array | Coded]
"""Computes a column of shape (n,) from records of shape (n,)."""

TRUNCATED = "[cut]"
"""The last name of a stack that has more functions than were recorded."""


def decode(decoder: Decoder, values: Array, absent: int | bytes | None = None) -> Coded:
    """Decode an array of shape (n,); arrays of objects hold bytes. The value ``absent`` means null."""
    if absent is not None:
        there = values != absent
        some = decode(decoder, values[there])
        codes = np.full(len(values), -1)
        codes[there] = some.codes
        return Coded(some.names, codes)
    distinct, codes = _distinct(values)
    names: dict[str, int] = {}
    # Two values may have one name; a column of names has each once.
    place = [names.setdefault(decoder(value), len(names)) for value in distinct]
    if len(names) < len(place):
        codes = np.array(place)[codes]
    return Coded(tuple(names), codes)


def _distinct(values: Array) -> tuple[list[Any], Array]:
    """Return the distinct values, and the index of each row's value, shape (n,)."""
    if values.dtype.kind in "SO":  # to sort strings takes many times as long as to hash them
        seen: dict[bytes, int] = {}
        codes = [seen.setdefault(value, len(seen)) for value in values.tolist()]
        return list(seen), np.array(codes, dtype=np.intp)
    distinct, inverse = np.unique(values, return_inverse=True)
    return distinct.tolist(), inverse


def mask_null(values: Array, absent: int | bytes | None) -> Array:
    """Return numbers of shape (n,), as a masked array if a value means null."""
    return values if absent is None else np.ma.masked_equal(values, absent)


def convert_to_bytes(values: Array, lengths: Array) -> Array:
    """Convert bytes of the C (dtype u1, shape (n, room)) to bytes objects, shape (n,): the first ``length``
    of each."""
    objects = np.empty(len(values), dtype=object)
    objects[:] = [row[:size].tobytes() for row, size in zip(values, lengths.tolist(), strict=True)]
    return objects


def convert_to_strings(values: Array) -> Array:
    """Convert bytes of the C (dtype u1, shape (n, room)) to fixed-size strings (dtype ``S``), shape (n,)."""
    return np.ascontiguousarray(values).view(f"S{values.shape[1]}").reshape(-1)


def cut_at_nul(values: Array) -> Array:
    """Cut strings of the C (dtype ``S``, shape (n,)) at their first NUL."""
    width = values.dtype.itemsize
    text = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), width)
    zero = text == 0
    ends = np.where(zero.any(axis=1), zero.argmax(axis=1), width)
    widest = int(ends.max(initial=0))
    text = np.where(np.arange(widest) < ends[:, None], text[:, :widest], 0).astype(np.uint8)
    return text.view(f"S{max(widest, 1)}").reshape(-1) if widest else np.zeros(len(values), dtype="S1")
