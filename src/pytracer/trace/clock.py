"""The schedule of a trace: the times of its results, and its end."""

from __future__ import annotations

from typing import Protocol


class Schedule(Protocol):
    """The interval (seconds), number and duration (seconds) of a run; None: not given."""

    @property
    def interval(self) -> float | None:
        """Seconds between two results."""
        ...

    @property
    def count(self) -> int | None:
        """The number of results."""
        ...

    @property
    def duration(self) -> float | None:
        """The duration of the run in seconds."""
        ...


class Clock:
    """The times at which results are due, and the end. ``interval`` is the default interval."""

    def __init__(self, times: Schedule, interval: float | None, start: float) -> None:
        self.interval = times.interval or interval
        self._begun = start
        self._end = None if times.duration is None else self._begun + times.duration
        self._count = times.count
        self._ticks = self._shown = 0

    @property
    def next(self) -> float | None:
        """The next time at which a result is due or the run ends; None if only events are awaited."""
        moments = [] if self._end is None else [self._end]
        if self.interval is not None:
            moments.append(self._begun + (self._ticks + 1) * self.interval)
        return min(moments, default=None)

    def is_due(self, now: float) -> bool:
        """Return whether that time has come."""
        return (moment := self.next) is not None and now >= moment

    def is_over(self, now: float) -> bool:
        """Return whether the duration is over."""
        return self._end is not None and now >= self._end

    def tick(self, now: float) -> bool:
        """Return whether an interval has passed. After a pause (SIGSTOP, suspend) one stands for all
        missed."""
        if self.interval is None or now < self._begun + (self._ticks + 1) * self.interval:
            return False
        self._ticks = max(self._ticks + 1, int((now - self._begun) / self.interval))
        self._shown += 1
        return True

    @property
    def is_complete(self) -> bool:
        """True once the requested number of intervals was shown."""
        return self._count is not None and self._shown >= self._count
