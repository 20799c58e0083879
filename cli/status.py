"""Report slow steps, and the start of a trace, to a user at a terminal.

A step is one line of standard error that the next step overwrites. A pipe or file gets none of this.
"""

from __future__ import annotations

import contextlib
import os

from pytracer import progress
from pytracer.plan import Plan

_BACK = "\r\x1b[K"


class StatusLine:
    """The last line of a terminal: ``show`` writes over it, ``clear`` removes it."""

    def __init__(self) -> None:
        """Show no line yet."""
        self._shown = False

    def show(self, line: str) -> None:
        """Write a line; an empty text removes it."""
        if line or self._shown:
            with contextlib.suppress(OSError):
                visible = line[: (os.get_terminal_size(2).columns or 80) - 1]
                # Not by sys.stderr: a child that is forked meanwhile would inherit its lock.
                os.write(2, (_BACK + visible).encode("utf-8", "backslashreplace"))
        self._shown = bool(line)

    def clear(self) -> None:
        """Remove the line."""
        self.show("")


def open_status() -> StatusLine | None:
    """Report slow steps from now on, if standard error is a terminal that can write over a line."""
    if not os.isatty(2) or os.environ.get("TERM", "dumb") == "dumb":
        return None
    status = StatusLine()
    progress.report_to(status.show)
    return status


def describe_wait(plan: Plan) -> str:
    """Describe the event that a trace of events waits for, and how to end it."""
    request = plan.request
    target_count, processes = len(plan.targets.names), len(request.processes)
    subject = plan.targets.names[0] if target_count == 1 else request.tracer.name
    if target_count > 1:
        subject = f"{target_count} functions and events"
    scope = f" in {processes} process{'es' if processes != 1 else ''}" if processes else ""
    end = f"ends after {request.duration:g} s, or by Ctrl-C" if request.duration else "Ctrl-C ends"
    return f"tracing {subject}{scope}; {end}"
