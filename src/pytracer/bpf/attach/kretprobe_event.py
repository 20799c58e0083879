"""Probe the return of a kernel function by a trace event of its own, which counts missed runs."""

from __future__ import annotations

from pytracer.bpf.attach import kprobe, kprobe_events
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import FeatureProber
from pytracer.kernel.facts import Support
from pytracer.spec import KretprobeEvent


def check_support(probe: KretprobeEvent, prober: FeatureProber) -> Support:
    """Test whether the function can be probed: tracefs accepts the same functions as the kprobe PMU."""
    return kprobe.check_support(probe, prober)


def load_attributes(probe: KretprobeEvent) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return kprobe.load_attributes(probe)


def attach(probe: KretprobeEvent, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    # One event for each target: the target's number makes its name unique within the process.
    name = "".join((probe.program, *map(str, probe.targets)))
    symbol = f"{probe.address:#x}" if probe.address else target.name
    return [kprobe_events.attach_return(symbol, program, name, target.cookies)]
