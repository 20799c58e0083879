"""Folded stacks for flame graph tools, one stack per line: ``name;outermost;...;innermost count``.

The names are the row's other keys: the thread's name, the event.
"""

from __future__ import annotations

from collections.abc import Iterable

from pytracer.model import Schema
from pytracer.sinks.stack_samples import StackSamples, StackSink
from pytracer.text import harmless

_NAMELESS = "[no name]"


class FoldedSink(StackSink):
    """Stacks of the whole run by names, whatever process they were in, the most frequent first.

    Losses are a stack of their own: the picture shows how much is missing.
    """

    def write(self, _schema: Schema, samples: StackSamples, /) -> None:
        """See :class:`~pytracer.sinks.stack_samples.StackSink`."""
        counts = {fold(name for name, _ in stack): counts[0] for stack, counts in samples.ranked()}
        for line, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
            self.stream.write(f"{line} {count}\n")


def fold(names: Iterable[str]) -> str:
    """Join the names of a stack to one text, from which they can be restored."""
    return ";".join(map(escape_name, names))


def escape_name(name: str) -> str:
    """Escape what would end a name, or the line. An empty name is ``[no name]``, and no other name is."""
    if name == _NAMELESS:
        return r"\x5b" + name[1:]
    return harmless(name).replace(";", r"\x3b") or _NAMELESS
