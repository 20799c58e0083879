"""Raw tracepoints: BPF_RAW_TRACEPOINT_OPEN."""

from __future__ import annotations

import errno
import os

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import attach_error
from pytracer.bpf.prober import SKIPPED, FeatureProber, assumed, unsupported
from pytracer.bpf.sys import ProgType, raw_tracepoint_open
from pytracer.bpf.trial import READS_BEYOND, reads_argument
from pytracer.features.table.hook_features import RAW_TRACEPOINT
from pytracer.kernel.facts import Support
from pytracer.record import replace
from pytracer.spec import RawTracepoint


def check_support(probe: RawTracepoint, kernel: FeatureProber) -> Support:
    """Test whether the tracepoint exists with enough arguments; with a caveat if runs would be lost.

    From Linux 7.0 (a46023d5616e) a program on a raw tracepoint can be preempted. Until it resumes, the kernel
    skips all other runs of it on that CPU: under load, half of all calls were measured to be lost. Around
    programs on trace events preemption is still off.
    """
    if kernel.missing_capabilities:
        return assumed(probe.event)
    answer = _try_event(probe, kernel)
    return (
        replace(answer, caveat=SKIPPED)
        if answer.is_supported and probe.preempted and kernel.may_preempt
        else answer
    )


def _try_event(probe: RawTracepoint, kernel: FeatureProber) -> Support:
    try:
        program = kernel.program(ProgType.RAW_TRACEPOINT, READS_BEYOND)
    except OSError as error:
        return unsupported(error, RAW_TRACEPOINT.absence)
    try:
        os.close(raw_tracepoint_open(probe.event, program))
    except OSError as error:
        if error.errno != errno.EINVAL:
            return unsupported(error, f"no raw tracepoint {probe.event}")
    return _has_arguments(probe, kernel) if probe.arguments else Support(True, probe.event)


def _has_arguments(probe: RawTracepoint, kernel: FeatureProber) -> Support:
    """Test whether the tracepoint has ``probe.arguments`` arguments, by attaching a program that reads the
    last."""
    try:
        program = kernel.program(ProgType.RAW_TRACEPOINT, reads_argument(probe.arguments - 1))
        os.close(raw_tracepoint_open(probe.event, program))
    except OSError as error:
        return unsupported(error, f"the raw tracepoint {probe.event} has fewer arguments")
    return Support(True, probe.event)


def load_attributes(_: RawTracepoint) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.RAW_TRACEPOINT)


def attach(_: RawTracepoint, place: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return [Link(attach_to_event(place.name, program))]


def attach_to_event(event: str, program: int) -> int:
    """Open a descriptor that keeps ``program`` attached to the raw tracepoint ``event``."""
    try:
        return raw_tracepoint_open(event, program)
    except OSError as error:
        raise attach_error(error, f"raw tracepoint {event}") from error
