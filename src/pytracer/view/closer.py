"""Tracers that look closer at a row of another one: its stacks, its events, its process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pytracer.record import record
from pytracer.spec import Filter, Listing, Output, Stacks, Stream, Table, Tracer
from pytracer.text import to_bytes

PURPOSES = ("stacks", "events", "process")
_GENERAL = ("profile", "offcputime")  # which say something of every task
_OPTIONS = {Filter.TID: "--tid", Filter.PID: "-p", Filter.COMM: "--comm"}  # the closest first


@record
class Choice:
    """A tracer with options, narrowed to the task of a row by one filter; ``text`` says what it shows."""

    tracer: str
    options: dict[str, str | bool]
    filter: Filter
    value: str
    text: str

    @property
    def words(self) -> tuple[str, ...]:
        """The command line, without ``pytracer``."""
        flags = [f"--{name}" for name, value in self.options.items() if value is True]
        named = [
            word for name, value in self.options.items() if value is not True for word in (f"--{name}", value)
        ]
        return (self.tracer, *flags, _OPTIONS[self.filter], self.value, *map(str, named))


def typed(text: str) -> str:
    """Return a name of the traced system as a word of a command line."""
    return to_bytes(text).decode("utf-8", "surrogateescape")


def narrow(row: dict[str, Any], filters: Iterable[Filter]) -> tuple[Filter, str] | None:
    """Return the filter that selects the task of a row, as closely as a tracer with these filters can."""
    for which in _OPTIONS:
        value = row.get(which.value)
        if value and which in filters:
            return which, typed(value) if isinstance(value, str) else str(value)
    return None


def find_closer(
    purpose: str, tracer: Tracer, row: dict[str, Any], tracers: Iterable[Tracer]
) -> Iterator[Choice]:
    """Yield what shows the ``stacks``, ``events`` or ``process`` of a row, the likeliest first.

    Tracers that need arguments are left out, and those that cannot be narrowed to the row.
    """
    if purpose == "process":
        if narrowed := narrow(row, (Filter.PID,)):
            yield Choice("top", {"by": "tid,comm"}, *narrowed, "its threads: CPU, waits, faults, I/O")
        tracers = [one for one in tracers if one is not tracer and one.name != "top"]
    order = sorted(
        tracers,
        key=lambda one: (one.name not in (tracer.name, *_GENERAL), one.group != tracer.group, one.name),
    )
    for one in order:
        found = narrow(row, one.filters)
        if one.arguments is not None or found is None:
            continue
        for output in one.outputs:
            if _fits(purpose, output):
                yield Choice(one.name, {output.when: True} if output.when else {}, *found, one.summary)


def _fits(purpose: str, output: Output) -> bool:
    if purpose == "stacks":
        return isinstance(output, Stacks)
    if purpose == "events":
        return isinstance(output, Stream) and not isinstance(output, Listing)
    return isinstance(output, Table) and not output.when
