"""Stop and continue the screen by job control."""

from __future__ import annotations

import signal
from types import FrameType

from pytracer import inherited


def resume_once() -> None:
    """Start the screen again on SIGCONT only if SIGTSTP ended it. After a SIGSTOP it is still there, and
    Textual would read keys in two threads."""
    suspend, resume = signal.getsignal(signal.SIGTSTP), signal.getsignal(signal.SIGCONT)
    assert callable(suspend)
    assert callable(resume)
    suspended = False

    def stops(number: int, frame: FrameType | None) -> None:
        nonlocal suspended
        suspended = True
        suspend(number, frame)

    def continues(number: int, frame: FrameType | None) -> None:
        nonlocal suspended
        if suspended:
            suspended = False
            resume(number, frame)

    inherited.handle(signal.SIGTSTP, stops)
    inherited.handle(signal.SIGCONT, continues)
