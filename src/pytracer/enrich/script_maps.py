"""Show the maps of scripts as bpftrace does: values, statistics, histograms; as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pytracer.arrays import Array, np
from pytracer.enrich.script_values import Shown, ValueReader
from pytracer.lang.script.program import ScriptMap
from pytracer.lang.script.types import WORD, AggregateType
from pytracer.lang.types import IntType
from pytracer.model.script import ScriptOutput
from pytracer.record import record

_WIDTH = 52  # characters of a full bar
_SUFFIXES = ("", "K", "M", "G", "T", "P", "E")


@record
class _Entry:
    key: list[Shown]
    value: list[int]
    shown: Shown | None = None


def show_map(
    one: ScriptMap, keys: Array, values: Array, reader: ValueReader, top: int = 0, divisor: int = 0
) -> ScriptOutput:
    """Show a map of which all ``keys`` (n,) and ``values`` (n,) or (n, cpus) were read; only the ``top``
    greatest where that is not 0, each value divided by ``divisor``."""
    words = _words(one, values)
    raw = np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), WORD * one.key_words)
    divisor = divisor or 1
    if one.has_buckets:
        return _histograms(one, raw, words, reader, top, divisor)
    entries = []
    for key, value in zip(raw, words, strict=True):
        shown = None
        if not isinstance(one.value, AggregateType):
            shown = reader.read(one.value, np.ascontiguousarray(value).tobytes(), 0)
        entries.append(_Entry(reader.read_parts(one.keys, key.tobytes()), value.tolist(), shown))
    if not one.keys and not entries:  # nothing was assigned: what a program would read
        zero = bytes(WORD * one.value_words)
        empty = None if isinstance(one.value, AggregateType) else reader.read(one.value, zero, 0)
        entries.append(_Entry([], [0] * one.value_words, empty))
    entries.sort(key=lambda entry: _rank(one, entry))
    if top:
        entries = entries[-top:]
    return _values(one, entries, divisor)


def _words(one: ScriptMap, values: Array) -> Array:
    """Return the words of each value, shape (n, words), of all CPUs together."""
    shape = (len(values), -1, one.value_words)
    words = (
        np.ascontiguousarray(values).view(np.uint64).reshape(shape)
        if len(values)
        else np.zeros((0, 1, 1), np.uint64)
    )
    if not isinstance(one.value, AggregateType):
        return words[:, 0]
    if one.value.kind not in ("min", "max"):
        summed: Array = words.sum(axis=1, dtype=np.uint64)
        return summed
    numbers = words[:, :, 0].view(np.int64) if one.value.signed else words[:, :, 0]
    seen = words[:, :, 1] != 0
    limits = np.iinfo(numbers.dtype)
    if one.value.kind == "min":
        best = np.where(seen, numbers, limits.max).min(axis=1)
    else:
        best = np.where(seen, numbers, limits.min).max(axis=1)
    merged: Array = best.view(np.uint64).reshape(-1, 1)
    return merged


def _rank(one: ScriptMap, entry: _Entry) -> Any:
    if isinstance(one.value, (AggregateType, IntType)):
        return _number(one, entry), _key_rank(entry.key)
    return _key_rank(entry.key)


def _key_rank(key: Sequence[Shown]) -> list[tuple[int, str]]:
    return [(part.data if isinstance(part.data, int) else 0, part.text) for part in key]


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _number(one: ScriptMap, entry: _Entry) -> int:
    value = one.value
    if isinstance(value, AggregateType) and value.kind in ("avg", "stats"):
        return _average(value, entry.value)
    signed = value.signed if isinstance(value, (AggregateType, IntType)) else False
    return _signed(entry.value[0]) if signed else entry.value[0]


def _average(kind: AggregateType, words: Sequence[int]) -> int:
    total, count = words
    if not count:
        return 0
    if not kind.signed:
        return total // count
    number = _signed(total)
    return -(-number // count) if number < 0 else number // count


def _values(one: ScriptMap, entries: Iterable[_Entry], divisor: int) -> ScriptOutput:
    lines, data = list[str](), dict[str, Any]()
    is_stats = isinstance(one.value, AggregateType) and one.value.kind in ("avg", "stats")
    kind = "stats" if is_stats else "map"
    single: Any = None
    for entry in entries:
        shown = _value(one, entry, divisor)
        lines.append(f"{one.name}{_key_text(entry.key)}: {shown.text}\n")
        single = shown.data
        if one.keys:
            data[",".join(str(part.data) for part in entry.key)] = shown.data
    return ScriptOutput(kind, {one.name: data if one.keys else single}, "".join(lines))


def _value(one: ScriptMap, entry: _Entry, divisor: int) -> Shown:
    if entry.shown is not None and not isinstance(one.value, IntType):
        return entry.shown
    if isinstance(one.value, IntType) and one.value.boolean:
        assert entry.shown is not None
        return entry.shown
    number = _divided(_number(one, entry), divisor)
    if isinstance(one.value, AggregateType) and one.value.kind == "stats":
        total, count = entry.value
        total = _signed(total) if one.value.signed else total
        data = {"count": count, "average": _average(one.value, entry.value), "total": total}
        return Shown(data, "{ " + ", ".join(f".{name} = {value}" for name, value in data.items()) + " }")
    return Shown(number, str(number))


def _divided(number: int, divisor: int) -> int:
    return number // divisor if number >= 0 else -(-number // divisor)


def _key_text(key: Sequence[Shown]) -> str:
    return f"[{', '.join(part.text for part in key)}]" if key else ""


# Histograms


def _histograms(
    one: ScriptMap, keys: Array, words: Array, reader: ValueReader, top: int, divisor: int
) -> ScriptOutput:
    assert isinstance(one.value, AggregateType)
    found = dict[bytes, dict[int, int]]()
    for key, value in zip(keys, words[:, 0].tolist(), strict=True):
        data = key.tobytes()
        bucket = int.from_bytes(data[-WORD:], "little")
        found.setdefault(data[:-WORD], {})[bucket] = value
    named = [(reader.read_parts(one.keys, raw), counts) for raw, counts in found.items()]
    order = sorted(named, key=lambda item: (sum(item[1].values()), _key_rank(item[0])))
    if top:
        order = order[-top:]
    text, data_of, single = list[str](), dict[str, Any](), list[Any]()
    for parts, counts in order:
        rows = list(_rows(one.value, counts))
        text.append(f"{one.name}{_key_text(parts)}:\n")
        text.append(_bars(one.value, rows, divisor) + "\n")
        single = [_json_row(low, high, count) for low, high, count in rows]
        if one.keys:
            data_of[",".join(str(part.data) for part in parts)] = single
    return ScriptOutput("hist", {one.name: data_of if one.keys else single}, "".join(text))


def _rows(kind: AggregateType, counts: dict[int, int]) -> Iterable[tuple[int | None, int | None, int]]:
    """Yield each bucket from the first to the last that is not empty: from, to before, count."""
    counts = {bucket: count for bucket, count in counts.items() if count}
    if not counts:
        return
    for bucket in range(min(counts), max(counts) + 1):
        low, high = bucket_bounds(kind, bucket)
        yield low, high, counts.get(bucket, 0)


def bucket_bounds(kind: AggregateType, bucket: int) -> tuple[int | None, int | None]:
    """Return the least value of a bucket, and the least above it; None where there is none."""
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
    shift, rest = (number >> bits) - 1, number & ((1 << bits) - 1)
    return ((1 << bits) + rest) << shift, ((1 << bits) + rest + 1) << shift


def _label(kind: AggregateType, low: int | None, high: int | None) -> str:
    if low is None:
        return f"(..., {_suffixed(high or 0)})"
    if high is None:
        return f"[{_suffixed(low)}, ...)"
    if kind.kind == "hist" and high == low + 1:
        return f"[{low}]"
    return f"[{_suffixed(low)}, {_suffixed(high)})"


def _suffixed(number: int) -> str:
    decade = 0
    while number and decade < len(_SUFFIXES) - 1 and number % 1024 == 0:
        number //= 1024
        decade += 1
    return f"{number}{_SUFFIXES[decade]}"


def _bars(kind: AggregateType, rows: Sequence[tuple[int | None, int | None, int]], divisor: int) -> str:
    most = max((count for *_, count in rows), default=1) or 1
    return "".join(
        f"{_label(kind, low, high):<16}{count // divisor:>8} |{'@' * (_WIDTH * count // most):<{_WIDTH}}|\n"
        for low, high, count in rows
    )


def _json_row(low: int | None, high: int | None, count: int) -> dict[str, int]:
    row = {}
    if low is not None:
        row["min"] = low
    if high is not None:
        row["max"] = high - 1
    return row | {"count": count}
