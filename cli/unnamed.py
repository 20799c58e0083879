"""``-v``: which frames of stacks have no name, and what would give them one, on standard error."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from pytracer.model import Item, Schema, StackSnapshot
from pytracer.sinks import Sink
from pytracer.symbols.history import UNLOADED
from pytracer.symbols.user import ANONYMOUS, UNKNOWN

_IN_FILE = re.compile(r"(?P<file>.+)\+0x[0-9a-f]+")
_FILES = 5  # that are named
_REASONS = {
    ANONYMOUS: "code that programs made: a perf map names it (java: jcmd PID Compiler.perfmap, "
    "node: --perf-basic-prof)",
    UNKNOWN: "the process had ended before its mappings were read, or a perf map lacks the function",
    UNLOADED: "something else was mapped there before it was read",
}


class UnnamedSink:
    """Passes items on to a sink, and says at the summary which frames of programs have no name, and why."""

    def __init__(self, sink: Sink, log: Callable[[str], None]) -> None:
        """Report by ``log``."""
        self._sink, self._log = sink, log
        self._columns: list[str] = []

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._columns = [column.name for column in schema.keys if column.source.endswith("user_stack")]
        self._sink.open(schema)

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._sink.emit(item)
        if isinstance(item, StackSnapshot) and item.kind == "summary":
            stacks = (stack for name in self._columns for stack in item.columns[name])
            for line in describe_unnamed(Counter(frame for stack in stacks for frame in stack)):
                self._log(line)

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._sink.close()


def describe_unnamed(frames: Counter[str]) -> Iterator[str]:
    """Yield a line for each reason why some ``frames`` of programs (with their numbers) have no name."""
    files = Counter[str]()
    for frame, count in frames.items():
        match = _IN_FILE.fullmatch(frame)
        if match is not None:
            files[match["file"]] += count
    if files:
        shown = ", ".join(f"{count:,} in {name}" for name, count in files.most_common(_FILES))
        others = f" and {len(files) - _FILES} other files" if len(files) > _FILES else ""
        yield (
            f"frames without a name: {shown}{others}: "
            "no symbols; their debug packages have some, or a server in DEBUGINFOD_URLS"
        )
    for mark, reason in _REASONS.items():
        if frames[mark]:
            yield f"frames without a name: {frames[mark]:,} {mark}: {reason}"
