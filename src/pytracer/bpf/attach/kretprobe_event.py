"""The return of a kernel function, by a trace event of tracefs of its own, which counts what it misses."""

from __future__ import annotations

from pytracer.bpf.attach import kprobe, kprobe_events
from pytracer.bpf.attach.kind import LoadAs, Place
from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import Asking
from pytracer.kernel.facts import Answer
from pytracer.spec import KretprobeEvent


def ask(probe: KretprobeEvent, kernel: Asking) -> Answer:
    """Whether the function can be probed: what can be by the PMU can be by tracefs."""
    return kprobe.ask(probe, kernel)


def load_as(probe: KretprobeEvent) -> LoadAs:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    return kprobe.load_as(probe)


def put(probe: KretprobeEvent, place: Place, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    # One event for each target: its number tells those of one process apart.
    name = "".join((probe.program, *map(str, probe.targets)))
    symbol = f"{probe.address:#x}" if probe.address else place.name
    return [kprobe_events.attach_return(symbol, program, name, place.cookies)]
