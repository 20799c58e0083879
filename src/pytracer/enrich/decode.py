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


def decode(
    decoder: Decoder, values: Array, absent: int | bytes | None = None, *, ends_at_nul: bool = False
) -> Coded:
    """Decode an array of shape (n,); arrays of objects hold bytes.

    The value ``absent`` means null. ``ends_at_nul``: the values are strings of the C, and what is behind the
    first NUL of each is left over from another.
    """
    distinct, codes = _find_distinct(values)
    if ends_at_nul:
        distinct = [value.partition(b"\0")[0] for value in distinct]
    names: dict[str, int] = {}
    # Two values may have one name; a column of names has each once.
    indexes = [-1 if value == absent else names.setdefault(decoder(value), len(names)) for value in distinct]
    if len(names) < len(indexes):
        codes = np.array(indexes)[codes]
    return Coded(tuple(names), codes)


def _find_distinct(values: Array) -> tuple[list[Any], Array]:
    """Return the distinct values, and the index of each row's value, shape (n,)."""
    if values.dtype.kind in "SO":  # to sort strings takes many times as long as to hash them
        indexes: dict[bytes, int] = {}
        codes = [indexes.setdefault(value, len(indexes)) for value in values.tolist()]
        return list(indexes), np.array(codes, dtype=np.intp)
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
    """Convert bytes of the C (dtype u1, shape (n, size)) to fixed-size strings (dtype ``S``), shape (n,)."""
    return np.ascontiguousarray(values).view(f"S{values.shape[1]}").reshape(-1)
