"""Draw no faster than the terminal shows it, however far away it is.

A pty takes what is written to it as fast as sshd reads it, and ssh keeps hundreds of kilobytes on their way.
On a slow line the screen would be far behind. So each frame is followed by a query for the cursor's position,
which the terminal answers when it gets there. Until then, nothing more is drawn.
"""

from __future__ import annotations

import select

QUERY = "\x1b[6n"
"""Requests a report of the cursor's position (DSR, of the VT100)."""
PATIENCE = 30.0
"""Seconds after which an answer counts as lost."""
_UNANSWERED = 8  # queries after which a terminal that has never answered gets no more


class Pacer:
    """Counts the frames that are on their way. ``pending`` is the number of answers that are missing."""

    def __init__(self) -> None:
        self.pending = 0
        self._answers = False  # the terminal has answered once
        self._sent = 0.0

    def is_ready(self, now: float) -> bool:
        """Return whether the terminal has shown the last drawing; always True for a terminal that does not
        answer."""
        if self.pending and self._answers and now - self._sent > PATIENCE:
            self.pending = 0
        return not self.is_waiting

    @property
    def is_waiting(self) -> bool:
        """True if an answer of the terminal is expected."""
        return self._answers and self.pending > 0

    def add_query(self, now: float) -> bool:
        """Count a query. Returns False if it is of no use to send one."""
        if not self._answers and self.pending >= _UNANSWERED:
            return False
        self.pending += 1
        self._sent = now
        return True

    def add_answer(self) -> None:
        """Count an answer."""
        self._answers = True
        self.pending = max(self.pending - 1, 0)


def can_write(descriptor: int) -> bool:
    """Return False while a terminal has not accepted the last output."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))
