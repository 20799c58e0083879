"""Turn batches of events into lines, column by column: a loop over rows would take most of the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pytracer.arrays import Array, np
from pytracer.model.tabular import Coded


def column_texts(
    values: Array | Coded, encode: Callable[[Any], str], form: str = "%s", *, is_plain: bool = True
) -> list[str]:
    """Return ``form`` with each value of a column, of shape (n,), in the place of its ``%s``.

    ``encode`` makes the text of a value, or of None. It is called once for each distinct name, and not at all
    for integers where these are ``is_plain``: shown by their digits.
    """
    if isinstance(values, Coded):
        texts = [form % encode(name) for name in (*values.names, None)]
        return list(map(texts.__getitem__, values.codes.tolist()))
    if not is_plain or values.dtype.kind not in "iu" or values.ndim != 1:
        return [form % encode(value) for value in values.tolist()]
    if np.ma.isMaskedArray(values):
        null_text = form % encode(None)
        return [null_text if number is None else form % number for number in values.tolist()]
    return list(map(form.__mod__, values.tolist()))


def join_columns(columns: Sequence[Sequence[str]]) -> str:
    """Join columns of texts, all of one length: the first of each column, the second of each, and so on."""
    parts = [""] * (len(columns) * len(columns[0]))
    for position, column in enumerate(columns):
        parts[position :: len(columns)] = column
    return "".join(parts)
