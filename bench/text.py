"""Measure the CPU time that an event takes from the ring into text, beside bpftrace's printf."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence

from bench.measure import MissingPeerError, Result, in_turns, result
from bench.peers import PYTRACER, bpftrace_environment, find
from bench.work import flood, gated, go

EVENTS, FEW = 1_000_000, 1_000
PEER_EVENTS = 300_000  # it takes several times as long for each
FORMATS = ("json", "csv", "table")
WORKS = {"opens": "of one path", "names": "half of them of a path of their own, with escapes"}
SCRIPT = (
    "tracepoint:syscalls:sys_enter_openat /pid == $1/ "
    '{ printf("%llu %d %s %d %s\\n", nsecs, pid, comm, args->flags, str(args->filename)); }'
)
_START = 3.0  # seconds in which each of them has attached its probes


def _processor_time(command: Sequence[str], work: str, events: int) -> tuple[float, int]:
    """Trace a workload until it ends. Returns the CPU seconds of the tracer, and the lines that it wrote.

    ``command`` ends with the place of a process id. Raises MissingPeerError if it does not run here.
    """
    with gated(flood(), "gated", work, str(events)) as target, open(os.devnull) as nothing:
        process = subprocess.Popen(
            [*command, str(target.pid)],
            stdin=nothing,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=bpftrace_environment(),
        )
        time.sleep(_START)
        if process.poll() is not None:
            assert process.stderr is not None
            raise MissingPeerError(f"{command[0]} does not run here: {process.stderr.read()[-200:]!r}")
        go(target)
        assert process.stdout is not None
        output, lines = process.stdout.fileno(), 0
        while block := os.read(output, 1 << 16):
            lines += block.count(b"\n")
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return usage.ru_utime + usage.ru_stime, lines


class _Tracer:
    """A benchmark of the CPU nanoseconds that a tracer takes for an event, beyond what its start takes."""

    def __init__(self, command: Sequence[str], work: str, events: int) -> None:
        self.command, self.work, self.events = command, work, events
        self.lines: list[int] = []

    def __call__(self) -> float:
        start, few = _processor_time(self.command, self.work, FEW)
        seconds, many = _processor_time(self.command, self.work, self.events)
        self.lines.append(many)
        return (seconds - start) / max(many - few, 1) * 1e9

    def note(self, name: str) -> str:
        """Return a note about the events that are not in the output."""
        missing = max(self.events - min(self.lines), 0) / self.events
        return f"{name} lost {missing:.0%}" if missing else f"{name} lost none"


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure each format with each workload."""
    try:
        script = [find("bpftrace"), "-B", "full", "-p"]
        for work, description in WORKS.items():
            for form in FORMATS:
                tracer = _Tracer([*PYTRACER, "opensnoop", "-f", form, "-p"], work, EVENTS)
                peer = _Tracer(
                    ["sh", "-c", f"exec {' '.join(script)} $1 -e '{SCRIPT}' $1", "sh"], work, PEER_EVENTS
                )
                values, peer_values = in_turns(rounds, tracer, peer)
                yield result(
                    f"text-{form}-{work}",
                    f"CPU time for an event of `opensnoop -f {form}`: {description}",
                    "bpftrace's printf",
                    values,
                    peer_values,
                    target=0.33,
                    unit="ns",
                    note=f"{tracer.note('pytracer')}, {peer.note('bpftrace')}",
                )
    except MissingPeerError as missing:
        yield missing
