"""Attachments: one file per kind of hook. Closing the links that they give detaches."""

from __future__ import annotations

from collections.abc import Iterable

from pytracer.bpf.attach import (
    kprobe,
    kprobe_events,
    kprobe_multi,
    perf_sample,
    raw_tracepoint,
    socket_filter,
    tracepoint,
)
from pytracer.bpf.attach.link import Link
from pytracer.kernel import functions
from pytracer.spec import Kprobes, Probe

ATTACH_TYPES = {"kprobe_multi": kprobe_multi.ATTACH_TYPE, "kretprobe_multi": kprobe_multi.ATTACH_TYPE}
"""By kind of probe: the ``enum bpf_attach_type`` that its program has to be loaded for."""


def attach(
    probe: Probe, name: str, program: int, interfaces: Iterable[int] = (), frequency: int = 0
) -> list[Link]:
    """Attach ``program`` (a descriptor) to what ``probe`` is called here; the links that hold it there.

    ``interfaces`` are the indexes that a network probe is put on (0: all),
    ``frequency`` is how often a second a sample is taken.

    Raises AttachError, or what the kernel's refusal means.
    """
    kind = probe.kind
    if isinstance(probe, Kprobes):
        found = functions.matching(probe.patterns)
        if kind == "kprobe_events":
            return [kprobe_events.attach(found, program, probe.program)]
        return [kprobe_multi.attach(found, program, at_return=kind == "kretprobe_multi")]
    if kind == "raw_tracepoint":
        return [Link(raw_tracepoint.attach(name, program))]
    if kind == "tracepoint":
        return [Link(tracepoint.attach(name, program))]
    if kind in ("kprobe", "kretprobe"):
        return [Link(kprobe.attach(name, program, at_return=kind == "kretprobe"))]
    if kind == "socket_filter":
        return [Link(socket_filter.attach(index, program)) for index in interfaces]
    if kind == "perf_sample":
        return [Link(descriptor) for descriptor in perf_sample.attach(name, program, frequency)]
    raise TypeError(f"no attachment for {kind}")
