"""The data of heat maps: counts of each interval by place, the places being buckets or parts of a second."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from pytracer.arrays import Array, np
from pytracer.model import Histograms, Schema
from pytracer.model.buckets import BUCKETS, bounds, bucket_of, percentiles
from pytracer.record import record
from pytracer.sinks.formatting import cell

SHARES = (0.5, 0.99)
"""The percentiles that are drawn, as fractions."""
_STOPS = ((254, 227, 145), (254, 196, 79), (236, 112, 20), (163, 43, 4), (60, 8, 50))


@record
class Interval:
    """The counts of one key in an interval by bucket, shape (496,).

    ``end`` is when it was read (seconds since the epoch), no value is greater than ``most``."""

    end: float
    seconds: float
    counts: Array
    most: int

    @property
    def percentiles(self) -> tuple[int, ...]:
        """The values at :data:`SHARES`, as tables have them; something must have been counted."""
        return tuple(percentiles(self.counts[None], share, [self.most])[0] for share in SHARES)


def intervals_of(item: Histograms, schema: Schema) -> list[tuple[str, Interval]]:
    """Return the name of each key of an interval's histograms, with its counts."""
    columns = {column.name: column for column in schema.columns}
    maxima = [column.name for column in schema.maxima]
    fine_counts = _spread(item.counts) if item.fine is None else item.fine
    named_intervals = list[tuple[str, Interval]]()
    for counts, keys, values in zip(fine_counts, item.key_rows(), item.measures(), strict=True):
        name = ", ".join(cell(value, columns[key]) for key, value in keys.items())
        maximum = max((int(values[column]) for column in maxima), default=sys.maxsize)
        named_intervals.append((name, Interval(item.time, item.seconds, counts, maximum)))
    return named_intervals


def _spread(counts: Array) -> Array:
    """Move counts by power of two into the first bucket of each power."""
    fine_counts = np.zeros((len(counts), BUCKETS), counts.dtype)
    fine_counts[:, [bucket_of(1 << power) for power in range(counts.shape[1])]] = counts
    fine_counts[:, 0] = 0
    return fine_counts


def merge(intervals: Sequence[Interval], limit: int) -> list[Interval]:
    """Add up neighbours, so that there are at most ``limit`` intervals."""
    step = math.ceil(len(intervals) / limit) if intervals else 1
    groups = [intervals[index : index + step] for index in range(0, len(intervals), step)]
    return [
        Interval(
            group[-1].end,
            sum(interval.seconds for interval in group),
            np.sum([interval.counts for interval in group], axis=0),
            max(interval.most for interval in group),
        )
        for group in groups
    ]


def used(counts: Array) -> tuple[int, int]:
    """Return the first bucket with a count and the one behind the last; (0, 0) if there is none."""
    filled = np.flatnonzero(counts)
    return (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 0)


def position(value: int) -> float:
    """Return the place of a value on the axis of buckets: 8.5 is in the middle of bucket 8."""
    bucket = bucket_of(value)
    low, high = bounds(bucket)
    return bucket + (value - low + 0.5) / (high - low)


def strength(count: int, maximum: int) -> float:
    """Return how strong the colour of a count from 1 to ``maximum`` is, from 0 to 1: by its logarithm."""
    return math.log(count) / math.log(maximum) if maximum > 1 else 1.0


def colour(share: float) -> str:
    """Return the colour of a strength from 0 (pale) to 1 (dark)."""
    position = min(max(share, 0.0), 1.0) * (len(_STOPS) - 1)
    low = min(int(position), len(_STOPS) - 2)
    components = (
        round(a + (b - a) * (position - low)) for a, b in zip(_STOPS[low], _STOPS[low + 1], strict=True)
    )
    return "#" + "".join(f"{part:02x}" for part in components)
