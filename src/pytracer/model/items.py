"""The items that a session yields and a sink shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from pytracer.arrays import Array
from pytracer.model.buckets import power_bounds
from pytracer.model.tabular import Coded, Tabular, Values, repeat_time, rows_of
from pytracer.record import default_factory, record

Kind = Literal["row", "summary"]
"""``row``: what one interval added. ``summary``: the whole run."""


@record
class Snapshot(Tabular):
    """A table: ``columns`` maps a column's name to its values, all of one length, in row order.

    ``time`` is when it was read (seconds since the epoch), ``seconds`` the span it covers.
    """

    kind: Kind
    time: float
    seconds: float
    columns: dict[str, Values]

    __repr__ = Tabular.__repr__

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def table(self) -> Mapping[str, Values | Coded]:
        """See :class:`~pytracer.model.tabular.Tabular`."""
        return {"time": repeat_time(self.time, len(self)), **self.columns}

    def value_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows without their time."""
        return rows_of(self.columns)

    def describe(self) -> str:
        """See :class:`~pytracer.model.tabular.Tabular`."""
        return f"{type(self).__name__} ({self.kind}, {self.seconds:.3g} s): {len(self)} rows"


@record
class StackSnapshot(Snapshot):
    """A table whose columns ``kernel`` and ``user`` hold frames: tuples of names, the innermost first.

    An empty tuple is a stack that there is not: a kernel thread has no user part, user code no kernel part.
    """

    __repr__ = Tabular.__repr__


@record
class Histograms(Tabular):
    """Histograms, one per row: ``keys`` as a Snapshot's columns, ``counts`` of shape (rows, 64).

    ``counts[r, s]`` is the number of values ``v`` with ``floor(log2(v)) == s`` (0 is in slot 0);
    ``counter`` names the counted quantity. ``values`` are further columns about all values of a row: sum,
    maximum, and percentiles, with a relative error of at most :data:`~pytracer.model.buckets.ERROR`.
    ``fine`` has the counts by bucket of :mod:`pytracer.model.buckets`, eight to a power of two: shape
    (rows, 496). None: the counts are known by power of two alone.
    """

    kind: Kind
    time: float
    seconds: float
    keys: dict[str, Values]
    counter: str
    counts: Array
    values: dict[str, Values] = default_factory(factory=dict)
    fine: Array | None = None

    __repr__ = Tabular.__repr__

    def __len__(self) -> int:
        return int(self.counts.shape[0])

    def table(self) -> Mapping[str, Values | Coded]:
        """See :class:`~pytracer.model.tabular.Tabular`; ``buckets`` are ``counts``."""
        total = {self.counter: self.counts.sum(axis=1)}
        return {
            "time": repeat_time(self.time, len(self)),
            **self.keys,
            **total,
            **self.values,
            "buckets": self.counts,
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each histogram as a dictionary; ``buckets`` is a list of ``low``, ``high``, ``count``."""
        for row, counts in zip(super().rows(), self.counts.tolist(), strict=True):
            yield row | {"buckets": buckets(counts)}

    def key_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the keys of each histogram, in the order of ``counts``."""
        return rows_of(self.keys) if self.keys else iter([{}] * len(self))

    def measures(self) -> Iterator[dict[str, Any]]:
        """Yield the further values of each."""
        return rows_of(self.values) if self.values else iter([{}] * len(self))

    def describe(self) -> str:
        """See :class:`~pytracer.model.tabular.Tabular`."""
        return f"Histograms ({self.kind}, {self.seconds:.3g} s): {len(self)} of {self.counter}"


@record
class ProfileSnapshot(Snapshot):
    """A table of the calls that a command made, and the seccomp profile for them.

    ``architectures`` are those it made calls by, the machine's own first, as profiles name them; ``calls``
    and ``runtime``, what a container runtime calls beside before there is a command, are names. ``unnamed``
    are calls that have no name, as people read them: they cannot be in a profile.
    """

    architectures: tuple[str, ...]
    calls: tuple[str, ...]
    runtime: tuple[str, ...]
    unnamed: tuple[str, ...]

    __repr__ = Tabular.__repr__


@record
class Batch(Tabular):
    """Events by column, in the order in which they happened. (The last of a batch and the first of the
    next, if of two CPUs, may be some hundred nanoseconds out of order: a BPF ring reserves space before the
    time is taken.)

    ``records`` are the events in C layout, shape (n,); ``times`` their times (ns since the epoch, int64);
    ``kind`` is ``entry`` for a listing of existing things. ``read`` makes a column of records: numbers as
    an array, names as Coded. Columns are made on demand.
    """

    names: tuple[str, ...]
    records: Array
    times: Array
    read: Callable[[str, Array], Array | Coded]
    kind: str = "event"

    __repr__ = Tabular.__repr__

    def __len__(self) -> int:
        return len(self.records)

    def column(self, name: str) -> Array | Coded:
        """Return one column. Raises KeyError if there is none of that name."""
        if name not in self.names:
            raise KeyError(name)
        return self.read(name, self.records)

    def table(self) -> Mapping[str, Values | Coded]:
        """See :class:`~pytracer.model.tabular.Tabular`."""
        return {"time": self.times, **{name: self.column(name) for name in self.names}}

    def value_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the events without their time."""
        return rows_of({name: self.column(name) for name in self.names})

    def describe(self) -> str:
        """See :class:`~pytracer.model.tabular.Tabular`."""
        return f"Batch: {len(self)} {'entries' if self.kind == 'entry' else 'events'}"


@record
class Loss(Tabular):
    """Events or values that are missing from the output: ``reason`` (a stable word), how many, and what it
    means."""

    reason: str
    lost: int
    meaning: str
    time: float

    def __repr__(self) -> str:
        return self.describe()

    def table(self) -> Mapping[str, Values | Coded]:
        """See :class:`~pytracer.model.tabular.Tabular`."""
        time = repeat_time(self.time, 1)
        return {"time": time, "reason": [self.reason], "lost": [self.lost], "meaning": [self.meaning]}

    def describe(self) -> str:
        """See :class:`~pytracer.model.tabular.Tabular`."""
        return f"Loss ({self.reason}): {self.lost} {self.meaning}"


class Statement(Tabular):
    """A line about a run. ``kind`` is its name in JSON."""

    kind = ""

    @property
    def difference(self) -> int:
        """The difference between what the run saw and had to see; 0 if the statement checks nothing."""
        return 0

    def __repr__(self) -> str:
        return self.describe()

    def record(self) -> dict[str, Any]:
        """Return the fields as they are shown."""
        raise NotImplementedError


@record
class AuditResult(Statement):
    """Compares what a trace has seen with the kernel's own counter at ``source`` over the same time.

    ``seen`` and ``lost`` are the trace's; the kernel counted at least ``least`` (from the end of attaching to
    the begin of detaching) and at most ``most`` (the time of both included). ``tolerance`` says why they may
    differ where nothing is wrong.
    """

    source: str
    seen: int
    lost: int
    least: int
    most: int
    tolerance: str
    time: float
    kind = "audit"

    __repr__ = Statement.__repr__

    @property
    def difference(self) -> int:
        """The number that the trace has too many (above 0), or that it lacks (below); 0: the two agree."""
        total = self.seen + self.lost
        return total - min(max(total, self.least), self.most)

    def record(self) -> dict[str, Any]:
        """Return the fields as they are shown."""
        numbers = {"seen": self.seen, "lost": self.lost, "counted_min": self.least, "counted_max": self.most}
        words = {"counter": self.source, "tolerance": self.tolerance}
        return {**words, **numbers, "difference": self.difference}

    def table(self) -> Mapping[str, Values | Coded]:
        """See :class:`~pytracer.model.tabular.Tabular`."""
        return {"time": repeat_time(self.time, 1), **{name: [value] for name, value in self.record().items()}}

    def describe(self) -> str:
        """Return the result as a sentence."""
        lost = f" and {self.lost} lost" if self.lost else ""
        count_text = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        verdict = "they agree"
        if self.difference:
            comparison = "more" if self.difference > 0 else "fewer"
            verdict = f"{abs(self.difference)} {comparison} than the kernel"
            verdict += f" ({self.tolerance})" if self.tolerance else ""
        return f"audit: {self.seen} seen{lost}, {self.source} counted {count_text}: {verdict}"


@record
class Totals(Statement):
    """Numbers about a whole run, by name: the tracer's ``totals``. ``meanings`` says what each counts."""

    counts: dict[str, int]
    meanings: dict[str, str]
    time: float
    kind = "totals"

    __repr__ = Statement.__repr__

    def record(self) -> dict[str, Any]:
        """Return the fields as they are shown."""
        return dict(self.counts)

    def table(self) -> Mapping[str, Values | Coded]:
        """See :class:`~pytracer.model.tabular.Tabular`."""
        return {"time": repeat_time(self.time, 1), **{name: [count] for name, count in self.counts.items()}}

    def describe(self) -> str:
        """Return the numbers above 0 as a line, times in seconds."""
        shown = [
            f"{f'{count / 1e9:.3f} s' if name.endswith('_ns') else count} {self.meanings[name]}"
            for name, count in self.counts.items()
            if count
        ]
        return f"total: {', '.join(shown) or 'nothing'}"


@record
class CallOverhead(Statement):
    """States the probes' part of the time that is shown for each call, in ns: for functions whose first
    instruction the kernel emulates, and for those where it is single-stepped. None: there are none such."""

    emulated_ns: int | None
    stepped_ns: int | None
    time: float
    kind = "overhead"

    __repr__ = Statement.__repr__

    def record(self) -> dict[str, Any]:
        """Return the fields as they are shown."""
        return {"emulated_ns": self.emulated_ns, "stepped_ns": self.stepped_ns}

    def table(self) -> Mapping[str, Values | Coded]:
        """See :class:`~pytracer.model.tabular.Tabular`."""
        return {"time": repeat_time(self.time, 1), **{name: [value] for name, value in self.record().items()}}

    def describe(self) -> str:
        """Return the numbers as a line."""
        numbers = [f"{value / 1000:.1f} us" for value in (self.emulated_ns, self.stepped_ns) if value]
        condition = " where a function's first instruction is single-stepped" if len(numbers) > 1 else ""
        return f"about {', '.join(numbers)}{condition}: the probes' part of each call's time"


Item = Batch | Snapshot | Histograms | Loss | AuditResult | Totals | CallOverhead


def buckets(counts: list[int]) -> list[dict[str, int]]:
    """Return the buckets of one histogram that are not empty: values from ``low`` to below ``high``."""
    return [
        {"low": power_bounds(slot)[0], "high": power_bounds(slot)[1], "count": count}
        for slot, count in enumerate(counts)
        if count
    ]
