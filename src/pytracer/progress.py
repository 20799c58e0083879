"""Report long steps while they run.

Nothing is reported, at no cost, unless :func:`report_to` was called: the command line does so at a terminal.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from pytracer.signal_mask import signals_blocked

_SECONDS = 1.0  # that something may take before it is said, and between two lines


@contextlib.contextmanager
def announce_if_slow(log: Callable[[str], None], text: Callable[[], str]) -> Iterator[None]:
    """Call ``log(text())`` from a thread if the block takes over a second, and each second from then on.

    The block may wait in a system call: the kernel takes its time to detach.
    """
    has_ended = threading.Event()

    def announce() -> None:
        while not has_ended.wait(_SECONDS):
            log(text())

    thread = threading.Thread(target=announce, daemon=True)
    with signals_blocked():
        thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


class ProgressStep:
    """A step that is under way: ``done`` of its parts are."""

    def __init__(self) -> None:
        """Begin a step with no part done."""
        self.done = 0

    def advance(self) -> None:
        """Count a part that is done."""
        self.done += 1


_report: Callable[[str], None] | None = None
_BAR = 30  # characters


def report_to(show: Callable[[str], None] | None) -> Callable[[str], None] | None:
    """Call ``show`` each second with a line about a step that takes over a second, and with "" when the step
    ends. Returns the function that was called before."""
    global _report
    previous, _report = _report, show
    return previous


@contextlib.contextmanager
def step(text: str, total: int = 0, unit: str = "") -> Iterator[ProgressStep]:
    """Report the block, with a bar if the number of its parts is known. ``unit`` is that of the number."""
    current, show = ProgressStep(), _report
    if show is None:
        yield current
        return
    try:
        with announce_if_slow(show, lambda: describe(text, current.done, total, unit)):
            yield current
    finally:
        show("")


def describe(text: str, done: int, total: int, unit: str = "") -> str:
    """Return the line of a step."""
    if not total:
        return f"pytracer: {text} ..."
    filled = _BAR * done // total
    return f"pytracer: {text} [{'#' * filled}{'.' * (_BAR - filled)}] {done} of {total}{unit and ' '}{unit}"
