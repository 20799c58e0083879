"""When a trace shows something, and when it is over."""

from __future__ import annotations

from typing import Protocol


class Schedule(Protocol):
    """How often (seconds), how many times and for how long (seconds) something is wanted; None: not said."""

    @property
    def interval(self) -> float | None:
        """How often."""
        ...

    @property
    def count(self) -> int | None:
        """How many times."""
        ...

    @property
    def duration(self) -> float | None:
        """For how long."""
        ...


class Clock:
    """When something is due, and when all is over: ``interval`` is what is taken where none was said."""

    def __init__(self, times: Schedule, interval: float | None, begun: float) -> None:
        self.interval = times.interval or interval
        self._begun = begun
        self._end = None if times.duration is None else self._begun + times.duration
        self._count = times.count
        self._ticks = self._shown = 0

    @property
    def next(self) -> float | None:
        """The next moment at which something is due or over; None where only events are waited for."""
        moments = [] if self._end is None else [self._end]
        if self.interval is not None:
            moments.append(self._begun + (self._ticks + 1) * self.interval)
        return min(moments, default=None)

    def is_due(self, now: float) -> bool:
        """Whether that moment has come."""
        return (moment := self.next) is not None and now >= moment

    def is_over(self, now: float) -> bool:
        """Whether the time has come to its end."""
        return self._end is not None and now >= self._end

    def tick(self, now: float) -> bool:
        """Whether an interval has passed. After a pause (SIGSTOP, suspend) one stands for all missed."""
        if self.interval is None or now < self._begun + (self._ticks + 1) * self.interval:
            return False
        self._ticks = max(self._ticks + 1, int((now - self._begun) / self.interval))
        self._shown += 1
        return True

    @property
    def is_complete(self) -> bool:
        """Whether as many intervals were shown as were asked for."""
        return self._count is not None and self._shown >= self._count
