"""Run a program at a timer, on one CPU."""

from __future__ import annotations

from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.perf_sample import (
    check_support,
    explain_refusal,
    load_attributes,
    open_events,
    sampling,
)
from pytracer.kernel.cpus import online_cpus
from pytracer.spec import IntervalSample

__all__ = ["attach", "check_support", "load_attributes"]


def attach(probe: IntervalSample, place: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    attr = sampling(probe.event, place.rate)
    try:
        return [Link(event) for event in open_events([(attr, -1, next(iter(online_cpus())))], program)]
    except OSError as error:
        raise explain_refusal(error, place) from error
