"""A program that runs so many times a second on every CPU: perf events that sample.

Linux 4.9, 0515e5999a46.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from pytracer.bpf.asking import Asking, no, untried
from pytracer.bpf.attach.kind import LoadAs, Place
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.perf import ATTR_SIZE, ENABLE, SET_BPF
from pytracer.bpf.probing import EMPTY
from pytracer.bpf.refusal import attach_error
from pytracer.bpf.sys import ProgType, perf_event_open
from pytracer.errors import UsageError
from pytracer.kernel.cpus import online_cpus
from pytracer.kernel.facts import Answer
from pytracer.kernel.policy import sysctl
from pytracer.spec import PerfSample

EVENTS = {"cpu-clock": (1, 0)}
"""By name: (type, config) of include/uapi/linux/perf_event.h."""

_DISABLED, _FREQUENCY = 1 << 0, 1 << 10  # bits of struct perf_event_attr


def ask(probe: PerfSample, kernel: Asking) -> Answer:
    """Whether a program can be run on samples of this event on every CPU."""
    if kernel.missing:
        return untried(probe.event)
    try:
        program = kernel.program(ProgType.PERF_EVENT, EMPTY)
        for descriptor in open_events(probe.event, program, 1):
            os.close(descriptor)
    except OSError as error:
        return no(error, f"this kernel takes no samples of {probe.event} (Linux 4.9)")
    return Answer(True, probe.event)


def load_as(_: PerfSample) -> LoadAs:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    return LoadAs(ProgType.PERF_EVENT)


def put(_: PerfSample, place: Place, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Kind`: one for each CPU that runs.

    Raises UsageError where the kernel takes fewer samples a second than are asked for.
    """
    try:
        return [Link(event) for event in open_events(place.name, program, place.frequency)]
    except OSError as error:
        limit = sysctl("kernel.perf_event_max_sample_rate")
        if error.errno == errno.EINVAL and limit is not None and place.frequency > limit:
            raise UsageError(
                f"this kernel takes at most {limit} samples a second",
                hint="the sysctl kernel.perf_event_max_sample_rate says so",
            ) from error
        raise attach_error(error, f"samples of {place.name}") from error


def open_events(event: str, program: int, frequency: int) -> list[int]:
    """Descriptors, one for each CPU, that keep ``program`` on samples of an event of EVENTS. Raises
    OSError."""
    kind, config = EVENTS[event]
    attr = struct.pack("IIQQQQQ", kind, ATTR_SIZE, config, frequency, 0, 0, _DISABLED | _FREQUENCY)
    opened: list[int] = []
    try:
        for cpu in online_cpus():
            opened.append(perf_event_open(attr.ljust(ATTR_SIZE, b"\0"), -1, cpu))
        for descriptor in opened:
            fcntl.ioctl(descriptor, SET_BPF, program)
        for descriptor in opened:  # as close together as can be
            fcntl.ioctl(descriptor, ENABLE, 0)
    except OSError:
        while opened:
            os.close(opened.pop())
        raise
    return opened
