"""Kernel functions that are kept from running: a kprobe whose program answers in their place."""

from __future__ import annotations

from pytracer.bpf.attach import kprobe
from pytracer.bpf.attach.kind import LoadAs, Place
from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import Asking, untried
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import helper_refusal
from pytracer.kernel.facts import Answer
from pytracer.spec import Override

_OVERRIDE_RETURN = 58  # enum bpf_func_id


def ask(probe: Override, kernel: Asking) -> Answer:
    """Whether a program may answer there. Whether the function allows it, the kernel's list has said."""
    if kernel.missing:
        return untried(probe.target)
    if helper_refusal(ProgType.KPROBE, _OVERRIDE_RETURN):
        return Answer(False, reason="there is no bpf_override_return (CONFIG_BPF_KPROBE_OVERRIDE)")
    return kprobe.ask(probe, kernel)


def load_as(probe: Override) -> LoadAs:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    return kprobe.load_as(probe)


def put(probe: Override, place: Place, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    return kprobe.put(probe, place, program)
