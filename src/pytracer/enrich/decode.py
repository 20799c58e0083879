"""Decode columns: each distinct value is decoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pytracer.arrays import Array, np
from pytracer.enrich import strings
from pytracer.model import Coded

Decoder = Callable[[Any], str]
"""Converts a raw value to text. Never raises: an unknown value becomes ``unknown``."""

Computed = Callable[[Array], Array | Coded]
"""Computes a column of shape (n,) from records of shape (n,)."""

_T = TypeVar("_T")

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
    if ends_at_nul and b"\0" in b"".join(distinct):
        distinct = [value.partition(b"\0")[0] for value in distinct]
    present = [value for value in distinct if value != absent] if absent in distinct else distinct
    texts = strings.ALL[decoder](present) if decoder in strings.ALL else list(map(decoder, present))
    numbers = _number(texts)
    if len(numbers) < len(distinct):  # two values may have one name; a column of names has each once
        remaining = iter(texts)
        indexes = [-1 if value == absent else numbers[next(remaining)] for value in distinct]
        codes = np.array(indexes, dtype=np.intp)[codes]
    return Coded(tuple(numbers), codes)


def _number(values: Iterable[_T]) -> dict[_T, int]:
    """Number the distinct values in their sequence."""
    distinct = dict.fromkeys(values)
    return dict(zip(distinct, range(len(distinct)), strict=True))


def _find_distinct(values: Array) -> tuple[list[Any], Array]:
    """Return the distinct values, and the index of each row's value, shape (n,)."""
    if values.dtype.kind in "SO":  # to sort strings takes many times as long as to hash them
        items = values.tolist()
        numbers = _number(items)
        return list(numbers), np.fromiter(map(numbers.__getitem__, items), dtype=np.intp, count=len(items))
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
