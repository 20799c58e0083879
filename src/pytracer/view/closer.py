"""Tracers that look closer at a row of another one: its stacks, its events, its process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytracer.kernel.filter_values import word_of
from pytracer.record import record
from pytracer.spec import Filter, Listing, Output, Stacks, Stream, Table, Tracer
from pytracer.text import to_bytes

PURPOSES = ("stacks", "events", "process")
_GENERAL = ("profile", "offcputime")  # which say something of every task
_CLOSEST = (Filter.TID, Filter.PID, Filter.COMM)
Filters = Mapping[Filter, tuple[bytes, ...]]
"""The filters of a run, as its request has them."""
_NONE: Filters = {}


@record
class Suggestion:
    """A tracer with options, narrowed to the task of a row by its filters; ``text`` says what it shows."""

    tracer: str
    options: dict[str, str | bool]
    filters: dict[Filter, list[str]]
    text: str

    @property
    def words(self) -> tuple[str, ...]:
        """The command line, without ``pytracer``."""
        flags = [f"--{name}" for name, value in self.options.items() if value is True]
        named = [
            word for name, value in self.options.items() if value is not True for word in (f"--{name}", value)
        ]
        narrowed = [
            word
            for which, values in self.filters.items()
            for value in values
            for word in ("-p" if which is Filter.PID else f"--{which.value}", value)
        ]
        return (self.tracer, *flags, *narrowed, *map(str, named))


def typed(text: str) -> str:
    """Return a name of the traced system as a word of a command line."""
    return to_bytes(text).decode("utf-8", "surrogateescape")


def narrow(row: dict[str, Any], tracer: Tracer, of_run: Filters = _NONE) -> dict[Filter, list[str]]:
    """Return the filters that select the task of a row as closely as a tracer can, with those of the run.

    Empty if the row names no task, or if the tracer would also show others of the same name, which the run
    left out.
    """
    for option_name in _CLOSEST:
        value = row.get(option_name.value)
        if not value or option_name not in tracer.filters:
            continue
        others = {other: keys for other, keys in of_run.items() if keys and other is not option_name}
        if option_name is Filter.COMM:
            if not set(others) <= set(tracer.filters):
                return {}
        else:  # an id is that of one process, whatever else selected it
            others = {other: others[other] for other in others if other not in (Filter.PID, Filter.TID)}
        found = {option_name: [typed(value) if isinstance(value, str) else str(value)]}
        for other, keys in others.items():
            if other in tracer.filters:
                found[other] = [word_of(other, key) for key in keys]
        return found
    return {}


def find_closer(
    purpose: str, tracer: Tracer, row: dict[str, Any], tracers: Iterable[Tracer], of_run: Filters = _NONE
) -> Iterator[Suggestion]:
    """Yield what shows the ``stacks``, ``events`` or ``process`` of a row, the likeliest first.

    The filters of the run, ``of_run``, hold for what looks closer, too. Tracers that need arguments are left
    out, and those that cannot be narrowed to the row.
    """
    tracers = list(tracers)
    if purpose == "process":
        whole = next(candidate for candidate in tracers if candidate.name == "top")
        if row.get("pid") and (narrowed := narrow({"pid": row["pid"]}, whole, of_run)):
            yield Suggestion("top", {"by": "tid,comm"}, narrowed, "its threads: CPU, waits, faults, I/O")
        tracers = [candidate for candidate in tracers if candidate is not tracer and candidate is not whole]
    order = sorted(
        tracers,
        key=lambda candidate: (
            candidate.name not in (tracer.name, *_GENERAL),
            candidate.group != tracer.group,
            candidate.name,
        ),
    )
    for candidate in order:
        found = narrow(row, candidate, of_run)
        if candidate.arguments is not None or not found:
            continue
        for output in candidate.outputs:
            if _is_suitable(purpose, output):
                yield Suggestion(
                    candidate.name, {output.when: True} if output.when else {}, found, candidate.summary
                )


def _is_suitable(purpose: str, output: Output) -> bool:
    if purpose == "stacks":
        return isinstance(output, Stacks)
    if purpose == "events":
        return isinstance(output, Stream) and not isinstance(output, Listing)
    return isinstance(output, Table) and not output.when
