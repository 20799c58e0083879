"""Raw tracepoints: BPF_RAW_TRACEPOINT_OPEN (Linux 4.17, c4f6699dfcb8)."""

from __future__ import annotations

import errno
import os

from pytracer.bpf.attach.kind import LoadAs, Place
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import attach_error
from pytracer.bpf.prober import Asking, no, untried
from pytracer.bpf.sys import ProgType, raw_tracepoint_open
from pytracer.bpf.trial import READS_BEYOND, reads_argument
from pytracer.kernel.facts import Answer
from pytracer.record import replace
from pytracer.spec import RawTracepoint

_SKIPPED = "programs there can be preempted, and are skipped meanwhile"


def ask(probe: RawTracepoint, kernel: Asking) -> Answer:
    """Whether there is such an event, and it has so many arguments; in doubt where runs would be lost.

    From Linux 7.0 on (a46023d5616e) a program on a raw tracepoint can be preempted. Until it has run on, all
    other runs of it on that CPU are skipped: under load half of all calls were seen to be. Around those on
    trace events preemption is still off.
    """
    if kernel.missing:
        return untried(probe.event)
    answer = _ask(probe, kernel)
    return replace(answer, doubt=_SKIPPED) if answer.ok and probe.preempted and kernel.preempts else answer


def _ask(probe: RawTracepoint, kernel: Asking) -> Answer:
    try:
        program = kernel.program(ProgType.RAW_TRACEPOINT, READS_BEYOND)
    except OSError as error:
        return no(error, "this kernel has no raw tracepoints (Linux 4.17)")
    try:
        os.close(raw_tracepoint_open(probe.event, program))
    except OSError as error:
        if error.errno != errno.EINVAL:
            return no(error, f"no raw tracepoint {probe.event}")
    return _has_arguments(probe, kernel) if probe.arguments else Answer(True, probe.event)


def _has_arguments(probe: RawTracepoint, kernel: Asking) -> Answer:
    """A program that reads the last of them is put on the event, for a moment, if there are so many."""
    try:
        program = kernel.program(ProgType.RAW_TRACEPOINT, reads_argument(probe.arguments - 1))
        os.close(raw_tracepoint_open(probe.event, program))
    except OSError as error:
        return no(error, f"the raw tracepoint {probe.event} has fewer arguments")
    return Answer(True, probe.event)


def load_as(_: RawTracepoint) -> LoadAs:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    return LoadAs(ProgType.RAW_TRACEPOINT)


def put(_: RawTracepoint, place: Place, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    return [Link(attach(place.name, program))]


def attach(event: str, program: int) -> int:
    """A descriptor that keeps ``program`` on the raw tracepoint ``event``."""
    try:
        return raw_tracepoint_open(event, program)
    except OSError as error:
        raise attach_error(error, f"raw tracepoint {event}") from error
