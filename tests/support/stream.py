"""Read streams: by the command line, and by perf rings even if the kernel has the BPF ring buffer."""

from __future__ import annotations

import json
from typing import Any

from pytracer.cli import tracer_parser
from pytracer.features.kernel_facts import RunningKernel
from pytracer.model import Batch, Loss
from pytracer.spec import registry
from pytracer.trace.loop import TraceLoop
from support.cli import run


def events(tracer: str, *words: object) -> list[dict[str, Any]]:
    """Return the events of a run in which nothing is lost."""
    result = run(tracer, "-f", "json", *words)
    assert result.status == 0, result.err
    assert result.of("loss") == []
    return result.of("event")


def events_and_report(tracer: str, *words: object) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return the events of a run in which nothing is lost; and what the command wrote to standard error, a
    JSON document a line."""
    result = run(tracer, "-f", "json", *words)
    assert result.status == 0, result.err
    assert result.of("loss") == []
    return result.of("event"), [json.loads(line) for line in result.err.splitlines()]


class NoRing(RunningKernel):
    """This kernel without the BPF ring buffer."""

    def has_map_type(self, number: int) -> bool:
        """See RunningKernel."""
        return number != 27 and super().has_map_type(number)


class OldKernel(NoRing):
    """This kernel with the features of Linux 4.18: neither loops nor bpf_probe_read_kernel."""

    has_loops = False

    def has_helper(self, number: int) -> bool:
        """See RunningKernel."""
        return number < 80 and super().has_helper(number)


def by_perf_rings(
    tracer: str, *words: object, facts: type[RunningKernel] = NoRing
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the events, and what was lost by reason, of a run on a kernel without the ring buffer."""
    request, _ = tracer_parser.parse(registry.get(tracer), [str(word) for word in words])
    records: list[dict[str, Any]] = []
    losses: dict[str, int] = {}
    with TraceLoop(request, facts) as trace:
        assert ("PT_HAS_RINGBUF", "") not in trace.plan.defines
        for item in trace:
            if isinstance(item, Batch):
                records += item.value_rows()
            elif isinstance(item, Loss):
                losses[item.reason] = losses.get(item.reason, 0) + item.lost
    return records, losses
