"""The kernel's clocks, in which BPF programs, perf events and the kernel's records give times.

They are of the initial time namespace. In another one (``unshare -T``, some containers) the clocks of this
process are shifted; /proc/self/timens_offsets has the offsets (Linux 5.6, 769071ac9f20).
"""

from __future__ import annotations

import contextlib
import functools
import time
from pathlib import Path

_OFFSETS = Path("/proc/self/timens_offsets")
_SECOND = 1_000_000_000


def monotonic_ns() -> int:
    """Return bpf_ktime_get_ns(): the monotonic clock of the initial time namespace, in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) - _measure_offset("monotonic")


def boottime_ns() -> int:
    """Return ktime_get_boottime_ns(): time since boot, suspended or not, in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - _measure_offset("boottime")


@functools.cache
def _measure_offset(clock: str) -> int:
    with contextlib.suppress(OSError):  # before Linux 5.6, or without CONFIG_TIME_NS
        for line in _OFFSETS.read_text().splitlines():
            name, seconds, nanoseconds = line.split()
            if name == clock:
                return int(seconds) * _SECOND + int(nanoseconds)
    return 0
