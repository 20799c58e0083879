"""Trace events of tracefs, by perf_event_open and PERF_EVENT_IOC_SET_BPF (Linux 4.7)."""

from __future__ import annotations

from pytracer.bpf.attach.perf import attach_program, event_attr
from pytracer.bpf.refusal import attach_error
from pytracer.kernel import tracefs

PERF_TYPE_TRACEPOINT = 2


def attach(name: str, program: int) -> int:
    """A descriptor that keeps ``program`` on the trace event ``category:event``."""
    category, _, event = name.partition(":")
    number = tracefs.event_id(category, event)
    try:
        return attach_program(event_attr(PERF_TYPE_TRACEPOINT, number), program)
    except OSError as error:
        raise attach_error(error, f"tracepoint {name}") from error
