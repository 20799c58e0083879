"""Raw tracepoints: BPF_RAW_TRACEPOINT_OPEN."""

from __future__ import annotations

import errno
import os

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import SKIPPED, FeatureProber, report_unsupported, report_untried
from pytracer.bpf.sys import ProgType, raw_tracepoint_open
from pytracer.bpf.trial import READS_BEYOND, argument_read_code
from pytracer.features.table.hook_features import RAW_TRACEPOINT
from pytracer.kernel.facts import Support
from pytracer.record import replace
from pytracer.spec import RawTracepoint


def check_support(probe: RawTracepoint, prober: FeatureProber) -> Support:
    """Test whether the tracepoint exists with enough arguments; with a caveat if runs would be lost.

    From Linux 7.0 (a46023d5616e) a program on a raw tracepoint can be preempted. Until it resumes, the kernel
    skips all other runs of it on that CPU: under load, half of all calls were measured to be lost. Around
    programs on trace events preemption is still off.
    """
    if prober.missing_capabilities:
        return report_untried(probe.event)
    answer = _try_event(probe, prober)
    return (
        replace(answer, caveat=SKIPPED)
        if answer.is_supported and probe.preempted and prober.may_preempt
        else answer
    )


def _try_event(probe: RawTracepoint, prober: FeatureProber) -> Support:
    try:
        program = prober.program(ProgType.RAW_TRACEPOINT, READS_BEYOND)
    except OSError as error:
        return report_unsupported(error, RAW_TRACEPOINT.absence)
    try:
        os.close(raw_tracepoint_open(probe.event, program))
    except OSError as error:
        if error.errno != errno.EINVAL:
            return report_unsupported(error, f"no raw tracepoint {probe.event}")
    return _has_arguments(probe, prober) if probe.arguments else Support(True, probe.event)


def _has_arguments(probe: RawTracepoint, prober: FeatureProber) -> Support:
    """Test whether the tracepoint has ``probe.arguments`` arguments, and no more if that is exact, by
    attaching programs that read the last, and the one behind it."""
    try:
        _attach_reader(probe.event, probe.arguments, prober)
    except OSError as error:
        return report_unsupported(error, f"the raw tracepoint {probe.event} has fewer arguments")
    if probe.exact:
        try:
            _attach_reader(probe.event, probe.arguments + 1, prober)
        except OSError as error:
            if error.errno != errno.EINVAL:
                return report_unsupported(error, f"no raw tracepoint {probe.event}")
        else:
            return Support(False, reason=f"the raw tracepoint {probe.event} has more arguments")
    return Support(True, probe.event)


def _attach_reader(event: str, arguments: int, prober: FeatureProber) -> None:
    """Attach a program that reads the last of so many arguments, for a moment. Raises OSError."""
    program = prober.program(ProgType.RAW_TRACEPOINT, argument_read_code(arguments - 1))
    os.close(raw_tracepoint_open(event, program))


def load_attributes(_: RawTracepoint) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.RAW_TRACEPOINT)


def attach(_: RawTracepoint, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return [Link(attach_to_event(target.name, program))]


def attach_to_event(event: str, program: int) -> int:
    """Open a descriptor that keeps ``program`` attached to the raw tracepoint ``event``."""
    try:
        return raw_tracepoint_open(event, program)
    except OSError as error:
        raise make_attach_error(error, f"raw tracepoint {event}") from error
