"""Resolve the samples for a request: the event, the tasks, the rate."""

from __future__ import annotations

import sys

from pytracer.errors import UsageError
from pytracer.record import replace
from pytracer.request import Request, choice_of, number_of
from pytracer.spec import HAPPENINGS, Filter, PerfSample, Rate, TaskSample


def resolve_tasks(probe: PerfSample, request: Request) -> PerfSample:
    """Complete a probe with the request's event and tasks."""
    if probe.chosen_by:
        probe = replace(probe, event=choice_of(probe.chosen_by, request), chosen_by="")
    if not isinstance(probe, TaskSample) or request.pack:  # which is for what is in doubt, too
        return probe
    processes, threads = (
        tuple(int.from_bytes(key, sys.byteorder) for key in request.filters.get(task_filter, ()))
        for task_filter in (Filter.PID, Filter.TID)
    )
    # Filters of two kinds must both hold: the program sees to that. Here the narrowest serves.
    return replace(
        probe,
        processes=() if threads else processes,
        threads=threads,
        command=request.follows_command and not threads,
        each=rate_of(probe, request).period == 1,
    )


def rate_of(probe: PerfSample, request: Request) -> Rate:
    """Return the sampling rate. Raises UsageError if both rates are given."""
    frequency, period = (request.options.get(name) for name in (probe.frequency, probe.period))
    if frequency is not None and period is not None:
        raise UsageError(f"--{probe.frequency} and --{probe.period} do not go together")
    if isinstance(period, int):
        return Rate(period=period)
    if frequency is None and probe.event in HAPPENINGS:
        return Rate(period=1)
    return Rate(frequency=number_of(probe.frequency, request))
