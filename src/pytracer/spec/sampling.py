"""Samples: what perf events count, and a program that runs each time they have counted so much."""

from __future__ import annotations

from pytracer.record import record
from pytracer.spec.hooks import Probe

CLOCKS = ("cpu-clock",)
HAPPENINGS = (
    "page-faults",
    "minor-faults",
    "major-faults",
    "context-switches",
    "cpu-migrations",
)
COUNTERS = (
    "cycles",
    "instructions",
    "cache-references",
    "cache-misses",
    "branches",
    "branch-misses",
)
EVENTS = (*CLOCKS, *HAPPENINGS, *COUNTERS)
"""The events to sample: time on a CPU, software events of the kernel, hardware counters if CPUs have them."""


@record
class Rate:
    """A sampling rate: ``frequency`` samples per second, or one sample every ``period`` events."""

    frequency: int = 0
    period: int = 0

    def __str__(self) -> str:
        """Return the rate as text; "" for no rate."""
        if self.period:
            return "each" if self.period == 1 else f"one of {self.period}"
        return f"{self.frequency} Hz" if self.frequency else ""


NO_RATE = Rate()
"""The rate of a probe that does not sample."""


@record
class PerfSample(Probe):
    """Samples of an event of :data:`EVENTS` on every CPU.

    ``event`` is its name, unless a :class:`~pytracer.spec.Choice` (``chosen_by``) selects it. ``frequency``
    and ``period`` name the :class:`~pytracer.spec.Number` options for the :class:`Rate`. If neither is
    given, the default of ``frequency`` holds, but of :data:`HAPPENINGS` every event is sampled.
    """

    event: str = "cpu-clock"
    chosen_by: str = ""
    frequency: str = "frequency"
    period: str = "period"

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "perf_sample"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return self.event


@record
class IntervalSample(PerfSample):
    """A timer: runs once each period, on one CPU."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "perf_interval"


@record
class RunOnce(Probe):
    """Runs once, before everything else is attached; with ``at_end``, after everything else is detached.

    ``times``: it runs so often, and the kernel measures how long that takes.
    """

    at_end: bool = False
    times: int = 1

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "run_once"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return "end" if self.at_end else "begin"


@record
class OnSignal(Probe):
    """Runs when pytracer itself gets a signal (``number``)."""

    number: int = 0

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "on_signal"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return f"signal {self.number}"


@record
class Watchpoint(Probe):
    """Runs when memory is accessed: ``length`` bytes at ``address``; ``mode`` is of ``r``, ``w``, ``x``.

    With ``processes`` or ``command`` only accesses by them and their new threads and children count.
    """

    address: int = 0
    length: int = 8
    mode: str = "w"
    processes: tuple[int, ...] = ()
    command: bool = False

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "watchpoint"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return f"{self.address:#x}:{self.length}:{self.mode}"


@record
class TaskSample(PerfSample):
    """Samples of certain tasks alone, wherever they run: a period counts only their events.

    The tasks are all threads of the ``processes``, the ``threads``, and, with ``command``, the command that
    is started with all its descendants. ``each``: every event is sampled. The plan fills them in.
    """

    processes: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    command: bool = False
    each: bool = False

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "task_sample"
