"""Read stacks back that ``-f folded`` or ``-f json`` wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from pytracer.errors import UsageError
from pytracer.model import Loss, Schema, StackSnapshot
from pytracer.model.tabular import Values
from pytracer.record import record
from pytracer.sinks.folded import escape_name
from pytracer.sinks.stack_samples import StackSamples
from pytracer.spec import Column, Stacks, Unit

_FOLDED = re.compile(r"(.+) (\d+)")

Names = tuple[str, ...]


@record
class SavedStacks:
    """Stacks of a run with one count each; ``column`` names the count. Names are as in folded lines, which
    do not mark the kernel's; the outermost is first."""

    column: Column
    counts: dict[Names, int]


def read_stacks(lines: Iterable[str], name: str) -> SavedStacks:
    """Read the lines of a file called ``name``. Raises UsageError for other formats."""
    numbered_lines = [(number, line.rstrip("\n")) for number, line in enumerate(lines, 1) if line.strip()]
    if numbered_lines and numbered_lines[0][1].startswith("{"):
        return _read_json(numbered_lines, name)
    counts: dict[Names, int] = {}
    for number, line in numbered_lines:
        match = _FOLDED.fullmatch(line)
        if match is None:
            raise _make_error(name, number, "no folded stack, and no JSON")
        stack = tuple(match[1].split(";"))
        counts[stack] = counts.get(stack, 0) + int(match[2])
    return SavedStacks(Column("count", "what was counted", unit=Unit.COUNT), counts)


def _make_error(name: str, number: int, reason: str) -> UsageError:
    return UsageError(
        f"{name}:{number}: {reason}", hint="write it by -f folded, or by -f json without INTERVAL"
    )


def _read_json(numbered_lines: list[tuple[int, str]], name: str) -> SavedStacks:
    rows, losses = list[dict[str, Any]](), list[Loss]()
    for number, line in numbered_lines:
        try:
            fields = json.loads(line)
            kind = fields["kind"]
            if kind == "loss":
                losses.append(Loss(str(fields["reason"]), int(fields["lost"]), "", 0.0))
            elif kind == "summary":
                rows.append(fields)
        except (ValueError, TypeError, KeyError):
            raise _make_error(name, number, "no line of -f json") from None
    if not rows:
        raise _make_error(name, numbered_lines[-1][0], "no stacks of a whole run (kind summary)")
    schema = _guess_schema(rows[0], name)
    for row in rows:
        if not all(isinstance(row.get(column.name), _guess_type(column)) for column in schema.columns):
            raise _make_error(name, numbered_lines[-1][0], "its lines do not have the same fields")
    samples = StackSamples(schema)
    columns: dict[str, Values] = {
        column.name: [row[column.name] for row in rows] for column in schema.columns
    }
    samples.add(StackSnapshot("summary", 0.0, 0.0, columns))
    for loss in losses:
        samples.add(loss)
    counts: dict[Names, int] = {}
    for stack, (count, *_) in samples.ranked():
        escaped = tuple(escape_name(frame) for frame, _ in stack)
        counts[escaped] = counts.get(escaped, 0) + count
    return SavedStacks(schema.counters[0], counts)


def _guess_schema(row: dict[str, Any], name: str) -> Schema:
    """Return the columns of a row by their contents: names, stacks, and numbers after the stacks."""
    keys, counters, stacks = list[Column](), list[Column](), 0
    for field, value in row.items():
        if field in ("kind", "time", "time_ns", "interval_ns"):
            continue
        if isinstance(value, list):
            stacks += 1
            keys.append(Column(field, "", decode="stack"))
        elif isinstance(value, str):
            keys.append(Column(field, "", decode="text"))
        elif stacks and isinstance(value, int):
            unit = Unit.NANOSECONDS if field.endswith("_ns") else Unit.COUNT
            counters.append(Column(field, "", unit=Unit.BYTES if field.endswith("bytes") else unit))
    if not counters or not any(column.name == "kernel" for column in keys):
        raise UsageError(f"{name} has no stacks", hint="it is for tracers of stacks, such as profile")
    return Schema("diff", tuple(keys), tuple(counters), Stacks("", tuple(counters)))


def _guess_type(column: Column) -> Any:
    if column.decode:
        return list if column.decode == "stack" else (str, type(None))
    return int
