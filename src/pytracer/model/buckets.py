"""Describe the buckets of probes_c/include/log2.h, and compute percentiles from their counts.

Below 8 each value has a bucket; above, each power of two is cut into 8 parts of one width. So a value is
known to a sixteenth of itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytracer.arrays import Array, np

BUCKETS = 496
POWERS = 64
ERROR = 1 / 16
"""By how much of itself a percentile may be off: it is the middle of its bucket."""


def bounds(bucket: int) -> tuple[int, int]:
    """Return the values ``low <= v < high`` of a bucket."""
    if bucket < 8:
        return bucket, bucket + 1
    shift = (bucket >> 3) - 1
    low = (8 + (bucket & 7)) << shift
    return low, low + (1 << shift)


def bucket_of(value: int) -> int:
    """Return the bucket of a value from 0 up."""
    if value < 8:
        return value
    shift = value.bit_length() - 4
    return (shift + 1 << 3) + (value >> shift & 7)


def power_bounds(slot: int) -> tuple[int, int]:
    """Return the values ``low <= v < high`` of a power-of-two slot of :class:`~pytracer.model.Histograms`."""
    return (1 << slot if slot else 0), 1 << slot + 1


def by_power(counts: Array) -> Array:
    """Sum counts by bucket, shape (n, BUCKETS), by power of two: shape (n, POWERS), 0 in the first."""
    first = [0, 2, 4, *range(8, BUCKETS, 8)]
    return np.add.reduceat(counts, first, axis=1)


def percentiles(counts: Array, share: float, maxima: Sequence[int]) -> list[int]:
    """Return for each row of counts by bucket, shape (n, BUCKETS), none of them empty, the value that a
    ``share`` of all values does not exceed; ``maxima`` is at least the maximum of each."""
    ranks = np.ceil(counts.sum(axis=1) * share)
    buckets = (np.cumsum(counts, axis=1) < ranks[:, None]).sum(axis=1)
    middles = (sum(bounds(bucket)) - 1 >> 1 for bucket in buckets.tolist())
    return [min(middle, maximum) for middle, maximum in zip(middles, maxima, strict=True)]
