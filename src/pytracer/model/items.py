"""The items that a session yields and a sink shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pytracer.arrays import Array, np
from pytracer.record import made, record

Kind = Literal["row", "summary"]
"""``row``: what one interval added. ``summary``: the whole run."""

Values = Sequence[Any] | Array


@record
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


@record
class Stacks(Snapshot):
    """A table whose columns ``kernel`` and ``user`` hold frames: tuples of names, the innermost first.

    An empty tuple is a stack that there is not: a kernel thread has no user part, user code no kernel part.
    """


@record
class Histograms:
    """One histogram a row: ``keys`` as a Snapshot's columns, ``counts`` of shape (rows, 64).

    ``counts[r, s]`` is how many values ``v`` had ``floor(log2(v)) == s`` (0 is in slot 0); ``counter``
    names what was counted. ``values`` are columns of what else is known of all values of a row: their sum,
    the greatest, and percentiles, to :data:`~pytracer.model.buckets.ERROR` of themselves.
    """

    kind: Kind
    time: float
    seconds: float
    keys: dict[str, Values]
    counter: str
    counts: Array
    values: dict[str, Values] = made(factory=dict)

    def __len__(self) -> int:
        return int(self.counts.shape[0])

    def rows(self) -> Iterator[dict[str, Any]]:
        """The keys of each histogram, in the order of ``counts``."""
        return _rows(self.keys) if self.keys else iter([{}] * len(self))

    def measures(self) -> Iterator[dict[str, Any]]:
        """The further values of each."""
        return _rows(self.values) if self.values else iter([{}] * len(self))


@record
class Profile(Snapshot):
    """A table of the calls that a command made, and what they come to as a seccomp profile.

    ``architectures`` are those it made calls by, the machine's own first, as profiles name them; ``calls``
    and ``runtime``, what a container runtime calls beside before there is a command, are names. ``unnamed``
    are calls that have no name, as people read them: they cannot be in a profile.
    """

    architectures: tuple[str, ...]
    calls: tuple[str, ...]
    runtime: tuple[str, ...]
    unnamed: tuple[str, ...]


@record
class Coded:
    """A column of names: the distinct ones, and which of them each row has (-1: none), shape (n,)."""

    names: Sequence[str]
    codes: Array

    def __len__(self) -> int:
        return len(self.codes)

    def tolist(self) -> list[str | None]:
        """One name a row; None where it has none."""
        names = [*self.names, None]
        return [names[code] for code in self.codes.tolist()]


@record
class Batch:
    """Events by column, in the order they happened. (The last of a batch and the first of the next, if of two
    CPUs, may be some hundred nanoseconds out of order: a BPF ring makes room before the time is taken.)

    ``records`` are they in the C's own layout, shape (n,); ``times`` when they happened (ns since the epoch,
    int64); ``kind`` is ``entry`` where they did not happen, but are. ``read`` makes a column of them: numbers
    as an array, names as Coded. Nothing is made that nobody asks for.
    """

    names: tuple[str, ...]
    records: Array
    times: Array
    read: Callable[[str, Array], Array | Coded]
    kind: str = "event"

    def __len__(self) -> int:
        return len(self.records)

    def column(self, name: str) -> Array | Coded:
        """One column. KeyError where there is none of that name."""
        if name not in self.names:
            raise KeyError(name)
        return self.read(name, self.records)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The events as dictionaries of plain Python values, a sink's view of them."""
        return _rows({name: self.column(name) for name in self.names})

    def to_numpy(self) -> dict[str, Array]:
        """Every column as an array of shape (n,): numbers as in C (a masked array where one may stand for
        none), names as objects; ``time`` as datetime64[ns]."""
        columns: dict[str, Array] = {"time": self.times.astype("datetime64[ns]")}
        for name in self.names:
            values = self.column(name)
            if isinstance(values, Coded):
                values = np.array([*values.names, None], dtype=object)[values.codes]
            columns[name] = values
        return columns

    def to_arrow(self) -> Any:
        """A pyarrow.Table; names are dictionaries. ImportError without pyarrow."""
        import pyarrow

        columns: dict[str, Any] = {"time": pyarrow.array(self.times, pyarrow.timestamp("ns", "UTC"))}
        for name in self.names:
            values = self.column(name)
            if isinstance(values, Coded):
                codes = pyarrow.array(values.codes.astype("int32"), mask=values.codes < 0)
                columns[name] = pyarrow.DictionaryArray.from_arrays(
                    codes, pyarrow.array(list(values.names), pyarrow.string())
                )
            else:
                missing = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None
                columns[name] = pyarrow.array(np.ascontiguousarray(np.ma.getdata(values)), mask=missing)
        return pyarrow.table(columns)

    def to_pandas(self) -> Any:
        """A pandas.DataFrame; names are categories, numbers that may be missing pandas' own integers.
        ImportError without pandas."""
        import pandas

        columns: dict[str, Any] = {"time": pandas.to_datetime(self.times, utc=True)}
        for name in self.names:
            values = self.column(name)
            if isinstance(values, Coded):
                columns[name] = pandas.Categorical.from_codes(values.codes, list(values.names))
            elif np.ma.isMaskedArray(values):
                columns[name] = pandas.arrays.IntegerArray(values.data.copy(), np.ma.getmaskarray(values))
            else:
                columns[name] = values
        return pandas.DataFrame(columns)


@record
class Loss:
    """Something that could not be recorded: ``reason`` (a stable word), how many, and what it means."""

    reason: str
    lost: int
    meaning: str
    time: float


Item = Batch | Snapshot | Histograms | Loss


def _rows(columns: Mapping[str, Values | Coded]) -> Iterator[dict[str, Any]]:
    lists = [v.tolist() if isinstance(v, (np.ndarray, Coded)) else list(v) for v in columns.values()]
    for row in zip(*lists, strict=True):
        yield dict(zip(columns, row, strict=True))
