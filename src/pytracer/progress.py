"""Report long steps while they run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from pytracer.signal_mask import signals_blocked

_SECONDS = 1.0  # that something may take before it is said, and between two lines


@contextlib.contextmanager
def announce_if_slow(
    say: Callable[[str], None], text: Callable[[], str], *, once: bool = False
) -> Iterator[None]:
    """Call ``say(text())`` from a thread if the block takes over a second, and each second from then on, or
    only ``once``.

    The block may wait in a system call: the kernel takes its time to detach.
    """
    ended = threading.Event()

    def announce() -> None:
        while not ended.wait(_SECONDS):
            say(text())
            if once:
                return

    thread = threading.Thread(target=announce, daemon=True)
    with signals_blocked():
        thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
