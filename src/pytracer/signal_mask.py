"""The mask of signals of threads and of forked processes, which inherit it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def signals_blocked() -> Iterator[set[int]]:
    """Block all signals for the length of the block, so that a child forked in it does not run our handlers.

    A thread that is started meanwhile never takes one. Else the kernel gives it a signal when the main thread
    has one to take already, and the main thread, which alone runs handlers, goes on waiting in write(2).

    Yields the mask that is set when the block ends.
    """
    blocked = {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())}
    try:
        yield blocked
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
