"""The items that a session yields and a sink shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pytracer.arrays import Array, np

Kind = Literal["row", "summary"]
"""``row``: what one interval added. ``summary``: the whole run."""

Values = Sequence[Any] | Array


@dataclass(frozen=True)
class Snapshot:
    """A table: ``columns`` maps a column's name to its values, all of one length, in row order.

    ``time`` is when it was read (seconds since the epoch), ``seconds`` the span it covers.
    """

    kind: Kind
    time: float
    seconds: float
    columns: dict[str, Values]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows as dictionaries of plain Python values, a sink's view of them."""
        return _rows(self.columns)


@dataclass(frozen=True)
class Histograms:
    """One histogram a row: ``keys`` as a Snapshot's columns, ``counts`` of shape (rows, 64).

    ``counts[r, s]`` is how many values ``v`` had ``floor(log2(v)) == s`` (0 is in slot 0); ``counter``
    names what was counted.
    """

    kind: Kind
    time: float
    seconds: float
    keys: dict[str, Values]
    counter: str
    counts: Array

    def __len__(self) -> int:
        return int(self.counts.shape[0])

    def rows(self) -> Iterator[dict[str, Any]]:
        """The keys of each histogram, in the order of ``counts``."""
        return _rows(self.keys)


@dataclass(frozen=True)
class Loss:
    """Something that could not be recorded: ``reason`` (a stable word), how many, and what it means."""

    reason: str
    lost: int
    meaning: str
    time: float


Item = Snapshot | Histograms | Loss


def _rows(columns: dict[str, Values]) -> Iterator[dict[str, Any]]:
    lists = [v.tolist() if isinstance(v, np.ndarray) else list(v) for v in columns.values()]
    for row in zip(*lists, strict=True):
        yield dict(zip(columns, row, strict=True))
