"""Tell whoever waits at a terminal what takes its time, and that a trace has begun: on standard error.

A line that is written over, and gone when the step has ended. Nothing of this reaches a pipe or a file.
"""

from __future__ import annotations

import contextlib
import os

from pytracer import progress
from pytracer.plan import Plan
from pytracer.spec import Filter

_BACK = "\r\x1b[K"


class StatusLine:
    """The last line of a terminal: ``show`` writes over it, ``clear`` removes it."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._shown = False

    def show(self, line: str) -> None:
        """Write a line; an empty one clears."""
        if line or self._shown:
            with contextlib.suppress(OSError):
                cut = line[: (os.get_terminal_size(2).columns or 80) - 1]
                # Not by sys.stderr, whose lock a child that is forked meanwhile would inherit.
                os.write(2, (_BACK + cut).encode("utf-8", "backslashreplace"))
        self._shown = bool(line)

    def clear(self) -> None:
        """Remove the line."""
        self.show("")


def open_status() -> StatusLine:
    """Have slow steps reported from now on."""
    status = StatusLine()
    progress.report_to(status.show)
    return status


def describe_wait(plan: Plan) -> str:
    """Say what a trace of events waits for, and how it ends."""
    request = plan.request
    places, processes = len(plan.targets.names), len(request.filters.get(Filter.PID, ()))
    what = plan.targets.names[0] if places == 1 else request.tracer.name
    if places > 1:
        what = f"{places} functions and events"
    where = f" in {processes} process{'es' if processes != 1 else ''}" if processes else ""
    end = f"ends after {request.duration:g} s, or by Ctrl-C" if request.duration else "Ctrl-C ends"
    return f"tracing {what}{where}; {end}"
