"""Attachments: one file per kind of hook. Closing the descriptors that they give detaches."""

from __future__ import annotations

from collections.abc import Iterable

from pytracer.bpf.attach import kprobe, raw_tracepoint, socket_filter, tracepoint
from pytracer.spec import Probe


def attach(probe: Probe, name: str, program: int, interfaces: Iterable[int] = ()) -> list[int]:
    """Attach ``program`` (a descriptor) to what ``probe`` is called here; the descriptors that hold it there.

    ``interfaces`` are the indexes that a network probe is put on (0: all).

    Raises AttachError, or what the kernel's refusal means.
    """
    kind = probe.kind
    if kind == "raw_tracepoint":
        return [raw_tracepoint.attach(name, program)]
    if kind == "tracepoint":
        return [tracepoint.attach(name, program)]
    if kind in ("kprobe", "kretprobe"):
        return [kprobe.attach(name, program, at_return=kind == "kretprobe")]
    if kind == "socket_filter":
        return [socket_filter.attach(index, program) for index in interfaces]
    raise TypeError(f"no attachment for {kind}")
