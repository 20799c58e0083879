"""A program that runs so many times a second on every CPU: perf events that sample.

Linux 4.9, 0515e5999a46.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from pytracer.bpf.attach.perf import ATTR_SIZE, ENABLE, SET_BPF
from pytracer.bpf.refusal import attach_error
from pytracer.bpf.sys import perf_event_open
from pytracer.errors import UsageError
from pytracer.kernel.cpus import online_cpus
from pytracer.kernel.policy import sysctl

EVENTS = {"cpu-clock": (1, 0)}
"""By name: (type, config) of include/uapi/linux/perf_event.h."""

_DISABLED, _FREQUENCY = 1 << 0, 1 << 10  # bits of struct perf_event_attr


def attach(event: str, program: int, frequency: int) -> list[int]:
    """Descriptors, one for each CPU that runs, that keep ``program`` on samples of an event of EVENTS.

    Raises UsageError where the kernel takes fewer samples a second than ``frequency``.
    """
    try:
        return open_events(event, program, frequency)
    except OSError as error:
        limit = sysctl("kernel.perf_event_max_sample_rate")
        if error.errno == errno.EINVAL and limit is not None and frequency > limit:
            raise UsageError(
                f"this kernel takes at most {limit} samples a second",
                hint="the sysctl kernel.perf_event_max_sample_rate says so",
            ) from error
        raise attach_error(error, f"samples of {event}") from error


def open_events(event: str, program: int, frequency: int) -> list[int]:
    """The same. Raises OSError."""
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
