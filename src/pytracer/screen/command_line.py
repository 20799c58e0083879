"""Command lines: of what is on the screen, and of tracers that look closer at a row of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pytracer.record import record
from pytracer.spec import Filter, Listing, Output, Stacks, Stream, Table, Tracer
from pytracer.text import harmless, to_bytes
from pytracer.view import View

LIVE = "--live"
_COUNTED = ("--top", "--sort")  # options of what is shown


_GENERAL = ("profile", "offcputime")  # which say something of every task


@record
class Choice:
    """A command line that looks closer: its words, without ``pytracer``, and what it shows."""

    words: tuple[str, ...]
    text: str


def of_screen(words: Sequence[str], tracer: Tracer, view: View) -> list[str]:
    """Return the command line that prints what is on the screen: the words of the user's, without the screen,
    with the order, and with those conditions of the filter that the kernel can test."""
    own, command = _cut(words)
    own = [word for word in own if word != LIVE]
    sortable = any("--sort" in output.takes for output in tracer.outputs)
    if view.sort and sortable and view.sort in [column.name for column in view.schema.columns]:
        if "--sort" in own:
            at = own.index("--sort")
            del own[at : at + 2]
        own += ["--sort", view.sort]
    for which, name in ((Filter.PID, "pid"), (Filter.TID, "tid"), (Filter.COMM, "comm")):
        option = f"--{which.value}"
        if which in tracer.filters and option not in own and not command:
            own += [word for value in view.filter.equal(name) for word in (option, _bytes(value))]
    return [*own, *command]


def shown(words: Iterable[str]) -> str:
    """Return a command line as it is typed; no terminal obeys anything in it."""
    return harmless(shlex.join(["pytracer", *words]))


def _cut(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of pytracer, and those of the command, which begin with ``--``."""
    at = words.index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at:])


def _bytes(text: str) -> str:
    """Return a name of the traced system as a word of a command line."""
    return to_bytes(text).decode("utf-8", "surrogateescape")


def narrowing(row: dict[str, Any], filters: Iterable[Filter]) -> tuple[str, ...]:
    """Return the options that select the task of a row, as closely as a tracer with these filters can."""
    if row.get("tid") and Filter.TID in filters:
        return "--tid", str(row["tid"])
    if row.get("pid") and Filter.PID in filters:
        return "-p", str(row["pid"])
    if isinstance(row.get("comm"), str) and row["comm"] and Filter.COMM in filters:
        return "--comm", _bytes(row["comm"])
    return ()


def closer(purpose: str, tracer: Tracer, row: dict[str, Any], tracers: Iterable[Tracer]) -> Iterator[Choice]:
    """Yield what shows the ``stacks``, ``events`` or ``process`` of a row, the likeliest first.

    Tracers that need arguments are left out, and those that cannot be narrowed to the row.
    """
    if purpose == "process":
        if narrowed := narrowing(row, (Filter.PID,)):
            yield Choice(("top", *narrowed, "--by", "tid,comm"), "its threads: CPU, waits, faults, I/O")
        tracers = [one for one in tracers if one is not tracer and one.name != "top"]
    order = sorted(
        tracers,
        key=lambda one: (one.name not in (tracer.name, *_GENERAL), one.group != tracer.group, one.name),
    )
    for one in order:
        narrowed = narrowing(row, one.filters)
        if one.arguments is not None or not narrowed:
            continue
        for output in one.outputs:
            if _fits(purpose, output):
                flag = (f"--{output.when}",) if output.when else ()
                yield Choice((one.name, *flag, *narrowed), one.summary)


def _fits(purpose: str, output: Output) -> bool:
    if purpose == "stacks":
        return isinstance(output, Stacks)
    if purpose == "events":
        return isinstance(output, Stream) and not isinstance(output, Listing)
    return isinstance(output, Table) and not output.when
