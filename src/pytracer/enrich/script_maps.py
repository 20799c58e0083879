"""Show the maps of scripts as bpftrace does: values, statistics, histograms; as text and as JSON."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytracer.enrich.script_series import Series, as_json, chart, read_series
from pytracer.enrich.script_values import DecodedValue, ValueReader
from pytracer.lang.script.program import ScriptMap
from pytracer.lang.script.types import WORD, AggregateType
from pytracer.lang.types import IntType
from pytracer.model.script import ScriptOutput
from pytracer.record import record

_WIDTH = 52  # characters of a full bar
_WORD_MASK = (1 << 64) - 1
_SUFFIXES = ("", "K", "M", "G", "T", "P", "E")


@record
class _Entry:
    key: list[DecodedValue]
    value: list[int]
    shown: DecodedValue | None = None


def show_map(
    script_map: ScriptMap,
    contents: Sequence[tuple[bytes, bytes]],
    reader: ValueReader,
    top: int = 0,
    divisor: int = 0,
) -> ScriptOutput:
    """Format a map as bpftrace prints it.

    Args:
        script_map: the map.
        contents: the keys and values; the value of an aggregate has the words of each CPU.
        reader: the decoder of values.
        top: the number of entries, the largest, to print; 0 for all.
        divisor: the number by which each value is divided; 0 for none.
    """
    words = [(key, struct.unpack(f"={len(value) // WORD}Q", value)) for key, value in contents]
    if isinstance(script_map.value, AggregateType) and script_map.value.kind == "tseries":
        return _show_series(script_map, script_map.value, read_series(script_map.value, words), reader)
    values = [_aggregate_words(script_map, numbers) for _, numbers in words]
    divisor = divisor or 1
    if script_map.has_buckets:
        return _show_histograms(script_map, [key for key, _ in contents], values, reader, top, divisor)
    entries = []
    for (key, raw), value in zip(contents, values, strict=True):
        decoded = None
        if not isinstance(script_map.value, AggregateType):
            decoded = reader.read(script_map.value, raw, 0)
        entries.append(_Entry(reader.read_parts(script_map.keys, key), value, decoded))
    if not script_map.keys and not entries:  # nothing was assigned: what a program would read
        zero = bytes(WORD * script_map.value_words)
        empty = (
            None if isinstance(script_map.value, AggregateType) else reader.read(script_map.value, zero, 0)
        )
        entries.append(_Entry([], [0] * script_map.value_words, empty))
    entries.sort(key=lambda entry: _rank(script_map, entry))
    if top:
        entries = entries[-top:]
    return _show_values(script_map, entries, divisor)


def _aggregate_words(script_map: ScriptMap, words: Sequence[int]) -> list[int]:
    """Return the words of a value, aggregated over those of the CPUs."""
    size = script_map.value_words
    kind = script_map.value
    if not isinstance(kind, AggregateType):
        return list(words[:size])
    if kind.kind not in ("min", "max"):
        return [sum(words[first::size]) & _WORD_MASK for first in range(size)]
    numbers = [
        _to_signed(number) if kind.signed else number
        for number, is_set in zip(words[::size], words[1::size], strict=True)
        if is_set
    ]
    if kind.kind == "min":
        limit = min(numbers, default=_WORD_MASK >> kind.signed)
    else:
        limit = max(numbers, default=-1 << 63 if kind.signed else 0)
    return [limit & _WORD_MASK]


def _rank(script_map: ScriptMap, entry: _Entry) -> Any:
    if isinstance(script_map.value, (AggregateType, IntType)):
        return _entry_number(script_map, entry), _rank_key(entry.key)
    return _rank_key(entry.key)


def _rank_key(key: Sequence[DecodedValue]) -> list[tuple[int, str]]:
    return [(part.data if isinstance(part.data, int) else 0, part.text) for part in key]


def _to_signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _entry_number(script_map: ScriptMap, entry: _Entry) -> int:
    value = script_map.value
    if isinstance(value, AggregateType) and value.kind in ("avg", "stats"):
        return _compute_average(value, entry.value)
    is_signed = value.signed if isinstance(value, (AggregateType, IntType)) else False
    return _to_signed(entry.value[0]) if is_signed else entry.value[0]


def _compute_average(kind: AggregateType, words: Sequence[int]) -> int:
    total, count = words
    if not count:
        return 0
    if not kind.signed:
        return total // count
    number = _to_signed(total)
    return -(-number // count) if number < 0 else number // count


def _show_values(script_map: ScriptMap, entries: Iterable[_Entry], divisor: int) -> ScriptOutput:
    lines, data = list[str](), dict[str, Any]()
    is_stats = isinstance(script_map.value, AggregateType) and script_map.value.kind in ("avg", "stats")
    kind = "stats" if is_stats else "map"
    last_data: Any = None
    for entry in entries:
        decoded = _show_value(script_map, entry, divisor)
        lines.append(f"{script_map.name}{_format_key(entry.key)}: {decoded.text}\n")
        last_data = decoded.data
        if script_map.keys:
            data[",".join(str(part.data) for part in entry.key)] = decoded.data
    return ScriptOutput(kind, {script_map.name: data if script_map.keys else last_data}, "".join(lines))


def _show_value(script_map: ScriptMap, entry: _Entry, divisor: int) -> DecodedValue:
    if entry.shown is not None and not isinstance(script_map.value, IntType):
        return entry.shown
    if isinstance(script_map.value, IntType) and (script_map.value.boolean or script_map.value.enum):
        assert entry.shown is not None
        return entry.shown
    number = _divide(_entry_number(script_map, entry), divisor)
    if isinstance(script_map.value, AggregateType) and script_map.value.kind == "stats":
        total, count = entry.value
        total = _to_signed(total) if script_map.value.signed else total
        data = {"count": count, "average": _compute_average(script_map.value, entry.value), "total": total}
        return DecodedValue(
            data, "{ " + ", ".join(f".{name} = {value}" for name, value in data.items()) + " }"
        )
    return DecodedValue(number, str(number))


def _divide(number: int, divisor: int) -> int:
    return number // divisor if number >= 0 else -(-number // divisor)


def _format_key(key: Sequence[DecodedValue]) -> str:
    return f"[{', '.join(part.text for part in key)}]" if key else ""


# Histograms


def _show_histograms(
    script_map: ScriptMap,
    keys: Sequence[bytes],
    words: Sequence[Sequence[int]],
    reader: ValueReader,
    top: int,
    divisor: int,
) -> ScriptOutput:
    assert isinstance(script_map.value, AggregateType)
    buckets_by_key = dict[bytes, dict[int, int]]()
    for data, (value, *_) in zip(keys, words, strict=True):
        bucket = int.from_bytes(data[-WORD:], "little")
        buckets_by_key.setdefault(data[:-WORD], {})[bucket] = value
    histograms = [(reader.read_parts(script_map.keys, raw), counts) for raw, counts in buckets_by_key.items()]
    order = sorted(histograms, key=lambda item: (sum(item[1].values()), _rank_key(item[0])))
    if top:
        order = order[-top:]
    text, data_of, last_rows = list[str](), dict[str, Any](), list[Any]()
    for parts, counts in order:
        rows = list(_iter_buckets(script_map.value, counts))
        text.append(f"{script_map.name}{_format_key(parts)}:\n")
        text.append(_format_bars(rows, divisor) + "\n")
        last_rows = [_make_json_row(low, high, count) for low, high, count in rows]
        if script_map.keys:
            data_of[",".join(str(part.data) for part in parts)] = last_rows
    return ScriptOutput("hist", {script_map.name: data_of if script_map.keys else last_rows}, "".join(text))


def _show_series(
    script_map: ScriptMap, kind: AggregateType, series: Mapping[bytes, Series], reader: ValueReader
) -> ScriptOutput:
    text, data, last = list[str](), dict[str, Any](), list[Any]()
    decoded = [(reader.read_parts(script_map.keys, raw), histogram) for raw, histogram in series.items()]
    for parts, histogram in sorted(decoded, key=lambda item: _rank_key(item[0])):
        text.append(f"{script_map.name}{_format_key(parts)}:\n{chart(kind, histogram)}\n")
        last = as_json(kind, histogram)
        if script_map.keys:
            data[",".join(str(part.data) for part in parts)] = last
    return ScriptOutput("tseries", {script_map.name: data if script_map.keys else last}, "".join(text))


def _iter_buckets(
    kind: AggregateType, counts: dict[int, int]
) -> Iterable[tuple[int | None, int | None, int]]:
    """Yield the lower bound, the upper bound (exclusive) and the count of each bucket.

    Empty buckets before the first and after the last count are left out.
    """
    counts = {bucket: count for bucket, count in counts.items() if count}
    if not counts:
        return
    for bucket in range(min(counts), max(counts) + 1):
        low, high = bucket_bounds(kind, bucket)
        yield low, high, counts.get(bucket, 0)


def bucket_bounds(kind: AggregateType, bucket: int) -> tuple[int | None, int | None]:
    """Return the lower bound of a bucket and its upper bound (exclusive); None for an open end."""
    if kind.kind == "lhist":
        low, high, step = kind.parameters
        if bucket == 0:
            return None, low
        start = low + (bucket - 1) * step
        return (high, None) if start >= high else (start, min(start + step, high))
    bits = kind.parameters[0]
    if bucket == 0:
        return None, 0
    number = bucket - 1
    if number < 1 << bits:
        return number, number + 1
    shift, remainder = (number >> bits) - 1, number & ((1 << bits) - 1)
    return ((1 << bits) + remainder) << shift, ((1 << bits) + remainder + 1) << shift


def _label(low: int | None, high: int | None) -> str:
    if low is None:
        return f"(..., {_format_suffixed(high or 0)})"
    if high is None:
        return f"[{_format_suffixed(low)}, ...)"
    if high == low + 1:
        return f"[{low}]"
    return f"[{_format_suffixed(low)}, {_format_suffixed(high)})"


def _format_suffixed(number: int) -> str:
    decade = 0
    while number and decade < len(_SUFFIXES) - 1 and number % 1024 == 0:
        number //= 1024
        decade += 1
    return f"{number}{_SUFFIXES[decade]}"


def _format_bars(rows: Sequence[tuple[int | None, int | None, int]], divisor: int) -> str:
    peak = max((count for *_, count in rows), default=1) or 1
    return "".join(
        f"{_label(low, high):<16}{count // divisor:>8} |{'@' * (_WIDTH * count // peak):<{_WIDTH}}|\n"
        for low, high, count in rows
    )


def _make_json_row(low: int | None, high: int | None, count: int) -> dict[str, int]:
    row = {}
    if low is not None:
        row["min"] = low
    if high is not None:
        row["max"] = high - 1
    return row | {"count": count}
