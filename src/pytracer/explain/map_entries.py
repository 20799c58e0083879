"""Format some entries of a tracer's map as text, by the C types that BCC described."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from pytracer.arrays import np
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import MapType
from pytracer.record import record
from pytracer.text import from_bytes

SHOWN = 8
_HASHES = frozenset({MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH})
_ARRAYS = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY})
_OTHERS: dict[int, str] = {
    MapType.RINGBUF: "a ring of records: read and gone",
    MapType.PERF_EVENT_ARRAY: "a ring of records for each CPU: read and gone",
    MapType.LPM_TRIE: "prefixes, in a trie",
    MapType.STACK_TRACE: "stacks, by number",
    MapType.CGROUP_ARRAY: "cgroups, which the kernel does not show",
    MapType.PROG_ARRAY: "programs",
    MapType.ARRAY_OF_MAPS: "maps",
    MapType.HASH_OF_MAPS: "maps",
}


@record
class MapEntries:
    """``count`` entries (None: unknown; for arrays, without all-zero ones), and the first of them as (key,
    value). Per-CPU values are added up. ``reason`` replaces the entries of maps that cannot be read."""

    count: int | None
    first: tuple[tuple[str, str], ...] = ()
    reason: str = ""


def entries_of(table: Map, max_columns: Collection[str] = ()) -> MapEntries:
    """Read and format a map. Per-CPU members named in ``max_columns`` are not added up: the maximum counts.
    Raises OSError; SchemaError if its types are unknown."""
    if table.type not in _HASHES | _ARRAYS:
        return MapEntries(None, reason=_OTHERS.get(table.type, ""))
    keys, values = table.read()
    if table.type in _ARRAYS:
        raw_values = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
        is_used = raw_values.any(axis=1)
        keys, values = keys[is_used], values[is_used]
    first = tuple(
        (_format_value(key), _format_value(_merge_cpus(value, max_columns) if table.is_per_cpu else value))
        for key, value in zip(keys[:SHOWN], values[:SHOWN], strict=True)
    )
    return MapEntries(len(keys), first)


def _merge_cpus(values: Any, max_columns: Collection[str]) -> Any:
    """Merge per-CPU values: numbers are added up or their maximum taken; of others, the last non-empty
    one."""
    if values.dtype.names is None:
        return values.sum(axis=0)
    merged = np.zeros((), values.dtype)
    for name in values.dtype.names:
        column = values[name]
        if column.dtype.kind in "iu" and column.ndim == 1:
            merged[name] = column.max() if name in max_columns else column.sum()
        else:
            used_values = [cpu_value for cpu_value in column if cpu_value.tobytes().strip(b"\0")]
            merged[name] = used_values[-1] if used_values else merged[name]
    return merged


def _format_value(value: Any) -> str:
    """Format a key or a value: numbers, structs by member, arrays of bytes as text."""
    names = value.dtype.names
    if names is not None:
        return ", ".join(
            f"{name}={_format_value(value[name])}" for name in names if not name.startswith("__pad")
        )
    if value.dtype.kind == "S" or (value.ndim and value.dtype.itemsize == 1):
        data = value.tobytes().partition(b"\0")[0]
        return repr(from_bytes(data))
    if value.ndim:
        return "[" + ", ".join(_format_list(value)) + "]"
    return str(value)


def _format_list(values: Any) -> Iterator[str]:
    for value in values.ravel()[:SHOWN]:
        yield f"{{{_format_value(value)}}}" if value.dtype.names else _format_value(value)
    if values.size > SHOWN:
        yield "..."
