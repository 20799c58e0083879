"""The lab's exit statuses and its one exception."""

from __future__ import annotations

import sys

TIMEOUT = 124
"""The command did not end in time."""
FAILED = 125
"""The lab itself failed, or the VM was lost: nothing is known about the command."""
CRASHED = 126
"""The kernel under test panicked, or hit an oops."""


class LabError(Exception):
    """The lab cannot do what was requested; `hint` says what would help."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def say(text: str) -> None:
    """Print a line from the lab on standard error."""
    print(f"lab: {text}", file=sys.stderr, flush=True)
