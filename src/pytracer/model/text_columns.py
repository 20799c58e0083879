"""Turn batches of events into lines, column by column: a loop over rows would take most of the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pytracer.arrays import Array, np
from pytracer.model.tabular import Coded

_SAMPLE = 64
"""The number of rows that show whether the numbers of a column repeat: to look a text up is quicker than to
format it."""


def column_texts(
    values: Array | Coded,
    encode: Callable[[Any], str],
    form: str = "%s",
    *,
    is_plain: bool = True,
    encode_names: Callable[[Sequence[str]], list[str]] | None = None,
) -> list[str]:
    """Return ``form`` with each value of a column, of shape (n,), in the place of its ``%s``.

    ``encode`` makes the text of a value, or of None. It is called once for each distinct name, and not at all
    for integers where these are ``is_plain``: shown by their digits. ``encode_names`` makes the texts of many
    names at once.
    """
    if isinstance(values, Coded):
        names = encode_names(values.names) if encode_names else list(map(encode, values.names))
        texts = list(map(form.__mod__, [*names, encode(None)]))
        return list(map(texts.__getitem__, values.codes.tolist()))
    if not is_plain or values.dtype.kind not in "iu" or values.ndim != 1:
        return [form % encode(value) for value in values.tolist()]
    numbers = values.tolist()
    if len({*numbers[:_SAMPLE]}) <= _SAMPLE // 2 or np.ma.isMaskedArray(values):
        text_of = {number: form % (encode(None) if number is None else number) for number in {*numbers}}
        return list(map(text_of.__getitem__, numbers))
    return list(map(form.__mod__, numbers))


def join_columns(columns: Sequence[Sequence[str]]) -> str:
    """Join columns of texts, all of one length: the first of each column, the second of each, and so on."""
    parts = [""] * (len(columns) * len(columns[0]))
    for position, column in enumerate(columns):
        parts[position :: len(columns)] = column
    return "".join(parts)
