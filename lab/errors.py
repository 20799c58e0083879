"""The lab's exit statuses and its one exception."""

from __future__ import annotations

import signal
import sys
from types import FrameType

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


class SignalReceivedError(BaseException):
    """A signal arrived that ends the command: SIGINT, SIGTERM or SIGHUP."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def raise_on_signals() -> None:
    """Raise SignalReceivedError at the first signal, and ignore later ones, so that the cleanup ends."""

    def handle(number: int, _frame: FrameType | None) -> None:
        for other in signals:
            signal.signal(other, signal.SIG_IGN)
        raise SignalReceivedError(number)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        signal.signal(number, handle)


def say(text: str) -> None:
    """Print a line from the lab on standard error."""
    print(f"lab: {text}", file=sys.stderr, flush=True)
