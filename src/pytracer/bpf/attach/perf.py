"""A BPF program on a perf event: what tracepoints and kprobes have in common."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from pytracer.bpf.sys import perf_event_open

SET_BPF = 0x40042408  # PERF_EVENT_IOC_SET_BPF
ENABLE = 0x2400  # PERF_EVENT_IOC_ENABLE
DISABLE = 0x2401  # PERF_EVENT_IOC_DISABLE
ATTR_SIZE = 112  # PERF_ATTR_SIZE_VER5


def event_attr(kind: int, config: int, config1: int = 0, config2: int = 0) -> bytes:
    """A struct perf_event_attr that samples nothing: the program is all that is wanted."""
    head = struct.pack("IIQQQQQIIQQ", kind, ATTR_SIZE, config, 1, 0, 0, 0, 1, 0, config1, config2)
    return head.ljust(ATTR_SIZE, b"\0")


def retprobe_bit(pmu: Path) -> int:
    """The bit of ``config`` that asks the kprobe or uprobe PMU for the return."""
    return int((pmu / "format/retprobe").read_text().strip().rpartition(":")[2])


def attach_program(attr: bytes, program: int) -> int:
    """Open the event and put ``program`` on it; it runs on every CPU. Raises OSError."""
    # One CPU is enough: the program hangs on the trace event itself, which all CPUs share.
    event = perf_event_open(attr, -1, 0)
    try:
        fcntl.ioctl(event, SET_BPF, program)
        fcntl.ioctl(event, ENABLE, 0)
    except OSError:
        os.close(event)
        raise
    return event
