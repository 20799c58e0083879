"""A breakdown of time as a page: the share of each class, then what each consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pytracer.model import StackSnapshot
from pytracer.record import record
from pytracer.sinks.formatting import cell
from pytracer.spec import Breakdown, Column
from pytracer.text import harmless

_BAR = 40
_DETAILS = 3  # of each class
_FRAMES = 3  # of the kernel and of the program
_WIDTH = 80
_SCHEDULER = ("__schedule", "schedule", "preempt_schedule", "io_schedule")  # what every wait ends in

Row = dict[str, Any]


@record
class _Class:
    """The rows of a class: their time, and how often it began."""

    name: str
    time: int
    count: int
    rows: list[Row]


class Page:
    """Formats a breakdown. ``keys`` are its key columns, of which the first is the class."""

    def __init__(self, output: Breakdown, keys: Iterable[Column]) -> None:
        self._output = output
        self._time, self._count, self._samples = output.columns
        keys = list(keys)
        self._part = keys[0].name
        self._details = [column for column in keys[1:] if column.decode != "stack"]
        self._stacks = [column.name for column in keys if column.decode == "stack"]

    def lines(self, item: StackSnapshot) -> list[str]:
        """Return the lines of the page."""
        classes = self._classes(item)
        whole = sum(part.time for part in classes)
        if not whole:
            return ["nothing seen"]
        threads = whole / 1e9 / item.seconds if item.seconds else 0
        lines = [f"{cell(whole, self._time)} of threads, {threads:.1f} at a time", ""]
        for part in classes:
            bar = "#" * round(_BAR * part.time / whole)
            lines.append(
                f"  {part.name:<9} {part.time / whole:6.1%}  {cell(part.time, self._time):>11}  {bar}"
            )
        for part in classes:
            lines += ["", *self._class_lines(part)]
        return [line if "->" in line[:4] else line[:_WIDTH] for line in lines]

    def _classes(self, item: StackSnapshot) -> list[_Class]:
        rows_of = dict[str, list[Row]]()
        for row in item.value_rows():
            rows_of.setdefault(row[self._part], []).append(row)
        classes = [
            _Class(name, self._sum(rows, self._time), self._sum(rows, self._count), rows)
            for name, rows in rows_of.items()
        ]
        return sorted((part for part in classes if part.time), key=lambda part: -part.time)

    def _class_lines(self, part: _Class) -> list[str]:
        """Return what a class consists of, its main stack, and the tracer to go on with."""
        times = "time" if part.count == 1 else "times"
        lines = [f"{part.name}: {cell(part.time, self._time)}, {part.count} {times}"]
        measure, unit = self._time, "of the time"
        if any(row[self._samples.name] for row in part.rows):  # whose time has no stacks
            measure, unit = self._samples, "of the samples"
        whole = self._sum(part.rows, measure)
        for detail, rows in self._ranked(part.rows, measure, self._detail)[:_DETAILS]:
            if detail:
                lines.append(f"  {self._sum(rows, measure) / whole:6.1%} {detail}")
        stacks = [pair for pair in self._ranked(part.rows, measure, self._stack) if pair[0]]
        if stacks:
            stack, rows = stacks[0]
            lines.append(f"  {self._sum(rows, measure) / whole:6.1%} {unit}, in")
            lines += [f"         {name}" for name in stack]
        tracer = dict(self._output.next).get(part.name)
        if tracer:
            lines.append(f"  -> pytracer {tracer} {self._output.target}")
        return lines

    def _ranked(
        self, rows: list[Row], measure: Column, key: Callable[[Row], Any]
    ) -> list[tuple[Any, list[Row]]]:
        """Group rows, the greatest sum first."""
        groups = dict[Any, list[Row]]()
        for row in rows:
            if row[measure.name]:
                groups.setdefault(key(row), []).append(row)
        return sorted(groups.items(), key=lambda pair: -self._sum(pair[1], measure))

    def _detail(self, row: Row) -> str:
        """Return the text of what a row waited for: the call, and its file or other end."""
        return " ".join(cell(row[c.name], c) for c in self._details if row[c.name] is not None)

    def _stack(self, row: Row) -> tuple[str, ...]:
        """The innermost functions of each part, without those of the scheduler."""
        names = list[str]()
        for part in self._stacks:
            frames = list(row[part])
            while frames and frames[0].removesuffix("_[k]") in _SCHEDULER:
                del frames[0]
            names += map(harmless, frames[:_FRAMES])
        return tuple(names)

    def _sum(self, rows: Iterable[Row], column: Column) -> int:
        return sum(row[column.name] for row in rows)
