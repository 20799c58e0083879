"""A target of the request, with its number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytracer.kernel.facts import NamedTarget
from pytracer.record import record, replace
from pytracer.spec import FunctionCode, Probe, Source

IN_PROGRAMS = ("u", "ur", "usdt")
"""The kinds of source that are in files that programs run."""


@record
class NumberedTarget:
    """A target, its number in C, and the source that named it. ``process`` is the only process to trace,
    for targets in programs (0: all). ``entry`` is the file offset at which calls of a program's function
    are counted, None if that is its site; ``code`` is where calls end, if that is found from machine code."""

    number: int
    source: Source
    target: NamedTarget
    process: int = 0
    entry: int | None = None
    code: FunctionCode | None = None

    @property
    def name(self) -> str:
        """As a user would write just this one."""
        return name_of(self.source, self.target)


def name_of(source: Source, target: NamedTarget) -> str:
    """Return a source's text for just one of its targets."""
    return replace(source, place="", name=target.name).text


Make = Callable[[str, Sequence[NumberedTarget]], tuple[Probe, ...]]
"""Makes probes for a program and its targets: one for each, or one for all."""
