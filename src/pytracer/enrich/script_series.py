"""Show the time series of scripts as bpftrace does: a chart of text for each key, and JSON."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from pytracer.lang.script.types import SERIES, WORD, AggregateType
from pytracer.record import record

_LAST = 52  # the last column of a chart, from 0 on
_MARGIN = " " * 13
_SIGNED = 1 << 63


@record
class Series:
    """The values of a key by the numbers of their intervals, and the first and last interval to show."""

    values: dict[int, int]
    first: int
    last: int


def read_series(kind: AggregateType, entries: Iterable[tuple[bytes, Sequence[int]]]) -> dict[bytes, Series]:
    """Return the series by their keys.

    Args:
        kind: the type of the map's values.
        entries: the keys, which end with a word that is not part of them, and of each the words of all CPUs,
            three each.
    """
    by_key = dict[bytes, dict[int, list[tuple[int, int]]]]()
    for key, words in entries:
        counts = by_key.setdefault(key[:-WORD], {})
        for epoch, value, extra in zip(words[::3], words[1::3], words[2::3], strict=True):
            if epoch:
                counts.setdefault(epoch - 1, []).append((value, extra))
    last_epoch = max((epoch for counts in by_key.values() for epoch in counts), default=0)
    oldest = last_epoch - kind.parameters[1] + 1
    series = dict[bytes, Series]()
    for data, counts in by_key.items():
        merged = {epoch: _merge(kind, parts) for epoch, parts in sorted(counts.items()) if epoch >= oldest}
        if merged or not last_epoch:
            series[data] = Series(merged, min(merged, default=0), last_epoch)
    return series


def _merge(kind: AggregateType, parts: Sequence[tuple[int, int]]) -> int:
    """Merge the values that the CPUs have for one interval: each a value, and a count or a time."""
    values = [value - 2 * _SIGNED if kind.signed and value >= _SIGNED else value for value, _ in parts]
    match SERIES[kind.parameters[2]]:
        case "avg":
            total, count = sum(values), sum(count for _, count in parts)
            return total // count if total >= 0 else -(-total // count)
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "sum":
            return sum(values)
    return max(zip((moment for _, moment in parts), values, strict=True))[1]


def chart(kind: AggregateType, series: Series) -> str:
    """Return the lines of a chart."""
    low, high = min(series.values.values(), default=0), max(series.values.values(), default=0)
    if low == high:
        low, high = low - (kind.signed or low > 0), high + 1
    labels = f"{_MARGIN}{low}{high:>{_LAST + 1 - len(str(low))}}\n"
    lines = [labels, f"hh:mm:ss.ms  |{'_' * (_LAST - 1)}|\n"]
    for epoch in range(series.first, series.last + 1):
        row = ["|", *" " * (_LAST - 1), "|"]
        if low < 0 < high:
            row[-low * _LAST // (high - low)] = "."
        value = series.values.get(epoch)
        if value is not None:
            row[(value - low) * _LAST // (high - low)] = "*"
        moment, remainder = divmod(epoch * kind.parameters[0], 10**9)
        stamp = time.strftime("%H:%M:%S", time.localtime(moment))
        lines.append(f"{stamp}.{remainder // 10**6:03} {''.join(row)} {'-' if value is None else value}\n")
    lines += [f"{_MARGIN}v{'_' * (_LAST - 1)}v\n", labels]
    return "".join(lines)


def as_json(kind: AggregateType, series: Series) -> list[dict[str, Any]]:
    """Return a series as JSON values: its intervals that have a value."""
    return list(_iter_intervals(kind, series))


def _iter_intervals(kind: AggregateType, series: Series) -> Iterable[dict[str, Any]]:
    for epoch, value in series.values.items():
        moment, remainder = divmod(epoch * kind.parameters[0], 10**9)
        start = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
        yield {"interval_start": f"{start}.{remainder:09}", "value": value}
