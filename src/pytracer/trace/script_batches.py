"""Batches of the outputs of scripts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pytracer import arrays
from pytracer.arrays import Array, np
from pytracer.model import Batch
from pytracer.model.script import ScriptOutput

_NAMES = ("type", "data")


class OutputRows:
    """The records of a batch of outputs as long as NumPy is not loaded: (kind, data, text) each. It has what
    showing a batch takes of an array."""

    itemsize = 24

    def __init__(self, rows: list[tuple[str, Any, str]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice) -> OutputRows:
        return OutputRows(self._rows[rows])

    @property
    def nbytes(self) -> int:
        """The size of an array of them."""
        return self.itemsize * len(self._rows)

    def tolist(self) -> list[tuple[str, Any, str]]:
        """Return the rows."""
        return self._rows


def collect_batch(outputs: Sequence[ScriptOutput]) -> Batch:
    """Return outputs as a batch."""
    return make_batch(*([getattr(output, name) for output in outputs] for name in ("kind", "data", "text")))


def make_batch(kinds: Sequence[str], data: Sequence[Any], texts: Sequence[str]) -> Batch:
    """Return outputs as a batch: its records have the shape (n, 3), see ScriptOutput.

    Before NumPy is loaded, they and the times are sequences of Python's.
    """
    now = time.time_ns()
    if not arrays.is_loaded():
        rows = OutputRows(list(zip(kinds, data, texts, strict=True)))
        return Batch(_NAMES, rows, [now] * len(rows), _decode_column)  # type: ignore[arg-type]
    records = np.empty((len(kinds), 3), dtype=object)
    for index, values in enumerate((kinds, data, texts)):
        column = np.empty(len(kinds), dtype=object)
        column[:] = values
        records[:, index] = column
    return Batch(_NAMES, records, np.full(len(records), now, dtype=np.int64), _decode_column)


def _decode_column(name: str, records: Array) -> Array:
    column: Array = records[:, _NAMES.index(name)]
    return column
