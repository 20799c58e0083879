"""Run a program at a timer, on one CPU."""

from __future__ import annotations

from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.perf_sample import (
    check_support,
    explain_refusal,
    load_attributes,
    open_events,
    pack_sampling_attr,
)
from pytracer.kernel.cpus import online_cpus
from pytracer.spec import IntervalSample

__all__ = ["attach", "check_support", "load_attributes"]


def attach(probe: IntervalSample, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    attr = pack_sampling_attr(probe.event, target.rate)
    try:
        return [Link(event) for event in open_events([(attr, -1, next(iter(online_cpus())))], program)]
    except OSError as error:
        raise explain_refusal(error, target) from error
