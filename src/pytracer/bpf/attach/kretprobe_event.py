"""The return of a kernel function, by a trace event of tracefs of its own, which counts what it misses."""

from __future__ import annotations

from pytracer.bpf.attach import kprobe, kprobe_events
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import FeatureProber
from pytracer.kernel.facts import Support
from pytracer.spec import KretprobeEvent


def check_support(probe: KretprobeEvent, kernel: FeatureProber) -> Support:
    """Whether the function can be probed: what can be by the PMU can be by tracefs."""
    return kprobe.check_support(probe, kernel)


def load_attributes(probe: KretprobeEvent) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    return kprobe.load_attributes(probe)


def attach(probe: KretprobeEvent, place: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    # One event for each target: its number tells those of one process apart.
    name = "".join((probe.program, *map(str, probe.targets)))
    symbol = f"{probe.address:#x}" if probe.address else place.name
    return [kprobe_events.attach_return(symbol, program, name, place.cookies)]
