"""Run a program once: when it is attached, or when it is detached."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber
from pytracer.bpf.sys import Command, ProgType, bpf, test_run
from pytracer.kernel.facts import Support
from pytracer.spec import RunOnce

_RUN_TIME = 0  # BPF_STATS_RUN_TIME


class Benchmark(Link):
    """A program that has run many times: its ``name``, and how often and how many ns it ran, by the kernel's
    own statistics."""

    def __init__(self, program: int, name: str, runs: int, duration: int) -> None:
        super().__init__(program)
        self.name, self.runs, self.duration = name, runs, duration


class _RunAtDetach(Link):
    """Runs the program when it is detached."""

    def detach(self) -> None:
        """See Link."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):  # it ran as the trace was set up, or not at all
                test_run(self.fd)
        super().detach()


def check_support(probe: RunOnce, _kernel: FeatureProber, /) -> Support:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return Support(True, probe.target)


def load_attributes(_: RunOnce) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: as for raw tracepoints."""
    return LoadAttributes(ProgType.RAW_TRACEPOINT)


def attach(probe: RunOnce, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    if probe.at_end:
        return [_RunAtDetach(os.dup(program))]
    try:
        if probe.times > 1:
            return [_measure(program, target.name, probe.times)]
        test_run(program)
    except OSError as error:
        raise make_attach_error(error, target.name) from error
    return []


def _measure(program: int, name: str, times: int) -> Benchmark:
    """Run a program many times, while the kernel keeps statistics (Linux 5.8)."""
    statistics = bpf(Command.ENABLE_STATS, struct.pack("I", _RUN_TIME))
    try:
        before = _statistics(program)
        for _ in range(times):
            test_run(program)
        after = _statistics(program)
    finally:
        os.close(statistics)
    runs, duration = (late - early for early, late in zip(before, after, strict=True))
    return Benchmark(os.dup(program), name, runs, duration)


def _statistics(program: int) -> tuple[int, int]:
    """Return how often a program ran, and for how many ns."""
    lines = Path(f"/proc/self/fdinfo/{program}").read_text().splitlines()
    numbers = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(numbers["run_cnt"]), int(numbers["run_time_ns"])
