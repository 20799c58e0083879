"""Raw tracepoints: BPF_RAW_TRACEPOINT_OPEN (Linux 4.17, c4f6699dfcb8)."""

from __future__ import annotations

from pytracer.bpf.refusal import attach_error
from pytracer.bpf.sys import raw_tracepoint_open


def attach(event: str, program: int) -> int:
    """A descriptor that keeps ``program`` on the raw tracepoint ``event``."""
    try:
        return raw_tracepoint_open(event, program)
    except OSError as error:
        raise attach_error(error, f"raw tracepoint {event}") from error
