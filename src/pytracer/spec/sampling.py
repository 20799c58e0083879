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
"""What can be sampled: time on a CPU, what the kernel counts, what CPUs count where they have counters."""


@record
class Rate:
    """How often a sample is taken: ``frequency`` times a second, or one of every ``period`` events."""

    frequency: int = 0
    period: int = 0

    def __str__(self) -> str:
        """As people are told; "" for no rate at all."""
        if self.period:
            return "each" if self.period == 1 else f"one of {self.period}"
        return f"{self.frequency} Hz" if self.frequency else ""


NO_RATE = Rate()
"""Of what takes no samples."""


@record
class PerfSample(Probe):
    """Samples of an event of :data:`EVENTS` on every CPU.

    ``event`` is its name, where no :class:`~pytracer.spec.Choice` (``chosen_by``) says it. ``frequency`` and
    ``period`` name the :class:`~pytracer.spec.Number` that says how often (:class:`Rate`); where neither is
    given, the default of ``frequency``, but of what happens (:data:`HAPPENINGS`) each is taken.
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
class TaskSample(PerfSample):
    """The same in certain tasks alone, wherever they run: one of so many events is one of theirs.

    They are all threads of the ``processes``, these ``threads``, and, with ``command``, a command that is
    started, with all that descends from it. ``each``: no event is left out. The plan fills them in.
    """

    processes: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    command: bool = False
    each: bool = False

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "task_sample"
