"""Run a program on samples of perf events, on every CPU."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterable

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.perf import ATTR_SIZE, ENABLE, SET_BPF, SampleLink
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber, report_unsupported, report_untried
from pytracer.bpf.sys import ProgType, perf_event_open
from pytracer.bpf.trial import EMPTY
from pytracer.errors import PytracerError, UsageError
from pytracer.features.table.hook_features import PERF_EVENT
from pytracer.kernel.cpus import online_cpus
from pytracer.kernel.facts import Support
from pytracer.kernel.policy import read_sysctl
from pytracer.spec import COUNTERS, PerfSample, Rate

_HARDWARE, _SOFTWARE = 0, 1  # enum perf_type_id
EVENTS = {
    "cpu-clock": (_SOFTWARE, 0),
    "page-faults": (_SOFTWARE, 2),
    "context-switches": (_SOFTWARE, 3),
    "cpu-migrations": (_SOFTWARE, 4),
    "minor-faults": (_SOFTWARE, 5),
    "major-faults": (_SOFTWARE, 6),
    "cycles": (_HARDWARE, 0),
    "instructions": (_HARDWARE, 1),
    "cache-references": (_HARDWARE, 2),
    "cache-misses": (_HARDWARE, 3),
    "branches": (_HARDWARE, 4),
    "branch-misses": (_HARDWARE, 5),
}
"""By name: (type, config) of include/uapi/linux/perf_event.h."""

_DISABLED, _INHERIT, _FREQUENCY = 1 << 0, 1 << 1, 1 << 10  # bits of struct perf_event_attr


def check_support(probe: PerfSample, prober: FeatureProber) -> Support:
    """Test whether a program can run on samples of this event on every CPU."""
    if prober.missing_capabilities:
        return report_untried(probe.event)
    try:
        program = prober.program(ProgType.PERF_EVENT, EMPTY)
        attr = pack_sampling_attr(probe.event, Rate(period=1 << 40))  # too long for a sample meanwhile
        for descriptor in open_events([(attr, -1, cpu) for cpu in online_cpus()], program):
            os.close(descriptor)
    except OSError as error:
        return report_unsupported(error, explain_missing_event(probe.event))
    return Support(True, probe.event)


def load_attributes(_: PerfSample) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.PERF_EVENT)


def attach(_: PerfSample, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: one link for each online CPU.

    Raises UsageError if the rate is above the kernel's limit (kernel.perf_event_max_sample_rate).
    """
    attr = pack_sampling_attr(target.name, target.rate)
    try:
        return [
            SampleLink(event) for event in open_events([(attr, -1, cpu) for cpu in online_cpus()], program)
        ]
    except OSError as error:
        raise explain_refusal(error, target) from error


def explain_missing_event(event: str) -> str:
    """Explain why the event may have no samples here."""
    if event in COUNTERS:
        return f"this machine does not count {event} (a virtual one may not be given counters)"
    return f"this kernel takes no samples of {event} ({PERF_EVENT.requirements})"


def explain_refusal(error: OSError, target: AttachTarget) -> PytracerError:
    """Return the error that explains why the kernel refused to attach."""
    limit = read_sysctl("kernel.perf_event_max_sample_rate")
    if error.errno == errno.EINVAL and limit is not None and target.rate.frequency > limit:
        return UsageError(
            f"this kernel takes at most {limit} samples a second",
            hint="the sysctl kernel.perf_event_max_sample_rate says so",
        )
    return make_attach_error(error, f"samples of {target.name}")


def pack_sampling_attr(event: str, rate: Rate, *, inherited: bool = False) -> bytes:
    """Pack the struct perf_event_attr of an event of EVENTS. ``inherited``: also count in threads and
    processes that the task creates."""
    kind, config = EVENTS[event]
    period_or_frequency = rate.period or rate.frequency
    flags = _DISABLED | (_INHERIT if inherited else 0) | (0 if rate.period else _FREQUENCY)
    return struct.pack("IIQQQQQ", kind, ATTR_SIZE, config, period_or_frequency, 0, 0, flags).ljust(
        ATTR_SIZE, b"\0"
    )


def open_events(events: Iterable[tuple[bytes, int, int]], program: int) -> list[int]:
    """Open a perf event for each (attributes, task or -1, CPU or -1) and attach ``program`` to all, or to
    none. Returns their descriptors. Raises OSError."""
    descriptors: list[int] = []
    try:
        for attr, task, cpu in events:
            descriptors.append(perf_event_open(attr, task, cpu))
        for descriptor in descriptors:
            fcntl.ioctl(descriptor, SET_BPF, program)
        for descriptor in descriptors:  # in a loop of its own, so that all start at nearly the same time
            fcntl.ioctl(descriptor, ENABLE, 0)
    except OSError:
        while descriptors:
            os.close(descriptors.pop())
        raise
    return descriptors
