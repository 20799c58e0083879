"""The Python API: ``pytracer.open``.

    with pytracer.open("execsnoop", uid="www-data") as trace:
        for item in trace:
            ...

It takes what the command line takes, under the same names, and gives what a sink would get.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from pytracer.cli import parser
from pytracer.errors import UsageError
from pytracer.features.kernel_facts import RunningKernel
from pytracer.model import Item
from pytracer.spec import Filter, GroupBy, NameSet, Tracer, registry
from pytracer.trace.loop import Trace as _Trace

_OURS = (
    "format",
    "output",
    "timestamp",
    "wide",
    "csv_raw",
    "strict",
    "dry_run",
    "emit_c",
    "verbose",
    "debug",
    "help",
)
_REPEATABLE = (*(which.value for which in Filter), "container", "hook")


class Trace(_Trace):
    """A trace that can be iterated with ``async for`` as well."""

    async def __aiter__(self) -> AsyncIterator[Item]:
        """The same items; the waiting is done in a thread."""
        items = iter(self)
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, items, None))
            try:
                item = await asyncio.shield(step)
            except asyncio.CancelledError:  # nothing may be closed before the thread is out
                self.stop()
                await asyncio.wait([step])
                raise
            if item is None:
                return
            yield item


def open(
    tracer: str,
    *arguments: str,
    interval: float | None = None,
    count: int | None = None,
    command: Sequence[str] = (),
    warn: Callable[[str], None] | None = None,
    **options: Any,
) -> Trace:
    """Start a trace, attached when this returns. Use it as a context manager.

    ``tracer`` is its name, ``arguments`` are what the command line has there (``open("sockcount", "lo")``);
    ``interval`` in seconds; ``command`` is run and traced alone, its words as a sequence. Further options
    have the names of the command line's long ones, with ``_`` for ``-``: a filter (``pid=1``, or a list), a
    flag (``latency=True``), a value (``duration=5``, ``max_rows=1000``). ``warn`` hears what the user should
    know.

    Raises what :mod:`pytracer.errors` lists: UsageError for what the command line would not take either.
    """
    declared = registry.get(tracer)
    words = [*map(str, arguments)]
    for word in words:
        if word.startswith("-"):
            raise UsageError(f"{word!r} is no argument", hint="options are given by name: duration=5")
    if interval is not None:
        words.append(str(interval))
    if count is not None:
        if interval is None:
            raise UsageError("a count needs an interval")
        words.append(str(count))
    for name, value in options.items():
        words += _option(declared, name, value)
    if command:
        words += ["--", *command]
    request, _ = parser.parse(declared, words)
    return Trace(request, RunningKernel, warn=warn)


def _option(tracer: Tracer, name: str, value: object) -> list[str]:
    """An option as words of the command line."""
    if name in _OURS:
        raise UsageError(f"{name} is an option of the command line alone")
    flag = "--" + name.replace("_", "-")
    if value is None or value is False:
        return []
    if value is True:
        return [flag]
    if isinstance(value, Iterable) and not isinstance(value, (str, os.PathLike)):
        several = [str(one) for one in value]
        if any(isinstance(o, (GroupBy, NameSet)) and o.name == flag[2:] for o in tracer.options):
            return [f"{flag}={','.join(several)}"]
        if name not in _REPEATABLE:
            raise UsageError(f"{name} takes one value")
        return [f"{flag}={one}" for one in several]
    return [f"{flag}={value}"]
