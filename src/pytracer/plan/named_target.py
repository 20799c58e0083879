"""One thing to attach to, of those that the user named."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytracer.kernel.facts import NamedTarget
from pytracer.record import record, replace
from pytracer.spec import FunctionCode, Probe, Source

IN_PROGRAMS = ("u", "ur", "usdt")
"""The kinds of source that are in files that programs run."""


@record
class NumberedTarget:
    """One target, the number that the C knows it by, and the source that named it. ``process`` is the only
    one in which it matters, where it is in programs (0: all). ``entry`` is the offset in its file at which
    calls of a program's function are counted, None if that is where its site is; ``code`` is where they end,
    if they are seen to end by that."""

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
    """How a user would write just this one of what a source names."""
    return replace(source, place="", name=target.name).text


Make = Callable[[str, Sequence[NumberedTarget]], tuple[Probe, ...]]
"""From a program and what it is to be put on, to probes: one for each, or one for all."""
