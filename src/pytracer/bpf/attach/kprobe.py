"""Kernel functions, by the perf PMU 'kprobe' (Linux 4.17, e12f03d7031a)."""

from __future__ import annotations

import ctypes
from pathlib import Path

from pytracer.bpf.attach.perf import attach_program, event_attr, retprobe_bit
from pytracer.bpf.refusal import attach_error
from pytracer.errors import UnsupportedError

PMU = Path("/sys/bus/event_source/devices/kprobe")


def attach(symbol: str, program: int, *, at_return: bool) -> int:
    """A descriptor that keeps ``program`` on the entry (or the return) of the function ``symbol``."""
    what = f"{'kretprobe' if at_return else 'kprobe'} {symbol}"
    if not PMU.is_dir():
        raise UnsupportedError(
            f"{what}: this kernel has no kprobe PMU", hint="CONFIG_KPROBES, and Linux 4.17"
        )
    name = ctypes.create_string_buffer(symbol.encode())
    config = 1 << retprobe_bit(PMU) if at_return else 0
    attr = event_attr(int((PMU / "type").read_text()), config, ctypes.addressof(name))
    try:
        return attach_program(attr, program)
    except OSError as error:
        raise attach_error(error, what) from error
