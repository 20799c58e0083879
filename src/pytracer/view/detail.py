"""Format all values of one row, as lines."""

from __future__ import annotations

from typing import Any

from pytracer.sinks.formatting import cell, timestamp
from pytracer.sinks.table import histogram_bars
from pytracer.spec import Histogram, Unit
from pytracer.text import harmless
from pytracer.view.base import View
from pytracer.view.tables import TableView
from pytracer.view.trends import sparkline

_TREND, _BAR = 50, 24  # characters


def describe(view: View, row: dict[str, Any], *, ascii_only: bool = False) -> list[str]:
    """Return the lines: each column with its unit, how it went, its buckets, its functions."""
    width = max(len(column.name) for column in view.columns)
    lines = [f"{'time':<{width}}  {timestamp(row['time'] // 1_000_000)}"]
    stacks = list[str]()
    for column in view.columns:
        value = row[column.name]
        if column.decode == "stack":
            stacks += ["", column.name, *(f"  {harmless(name)}" for name in value)] if value else []
            continue
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else cell(value, column)
        exact_text = f" ({value} ns)" if column.unit is Unit.NANOSECONDS and value and value >= 1000 else ""
        lines.append(f"{column.name:<{width}}  {harmless(text)}{exact_text}  -- {column.help}")
    if isinstance(view, TableView) and (trend := view.trend_column()) is not None:
        history = view.trend(row, _TREND)
        line = sparkline(history, len(history), ascii_only=ascii_only)
        lines.append(f"{trend.name:<{width}}  {line}  -- the last intervals")
    if "buckets" in row and isinstance(view.schema.output, Histogram):
        lines += ["", *histogram_bars(row["buckets"], view.schema.output.unit, _BAR)]
    return lines + stacks
