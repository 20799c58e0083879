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
EVENT = "tracepoint:syscalls:sys_enter_openat"
PRINTF = EVENT + ' { printf("%llu %d %s %d %s\\n", nsecs, pid, comm, args.flags, str(args.filename)); }'
# Debian 12's bpftrace applies -p to other probes only, and knows no "args.".
PEER_PRINTF = PRINTF.replace("args.", "args->").replace(" {", " /pid == PID/ {", 1)
COMMANDS = {
    "json": ("opensnoop", "-f", "json", "-p", "PID"),
    "csv": ("opensnoop", "-f", "csv", "-p", "PID"),
    "table": ("opensnoop", "-p", "PID"),
    "printf": ("script", "-q", "-e", PRINTF, "-p", "PID"),
}
WORKS = {"opens": "of one path", "names": "half of them of paths of their own, with escapes"}
_START = 3.0  # seconds in which each of them has attached its probes


def _processor_time(command: Sequence[str], work: str, events: int) -> tuple[float, int]:
    """Trace a workload until it ends. Returns the CPU seconds of the tracer, and the lines that it wrote.

    The word PID in ``command`` stands for the process. Raises MissingPeerError if it does not run here.
    """
    with gated(flood(), "gated", work, str(events)) as target:
        process = subprocess.Popen(
            [word.replace("PID", str(target.pid)) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=bpftrace_environment(),
        )
        time.sleep(_START)
        if process.poll() is not None:
            raise MissingPeerError(f"{command[0]} does not run here: status {process.returncode}")
        go(target)
        assert process.stdout is not None
        output, lines = process.stdout.fileno(), 0
        while block := os.read(output, 1 << 16):
            lines += block.count(b"\n")
        process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, lines


class _Tracer:
    """A benchmark of the CPU nanoseconds that a tracer takes for an event, beyond what its start takes."""

    def __init__(self, command: Sequence[str], work: str, events: int) -> None:
        self.command, self.work, self.events = command, work, events
        self.lines: list[int] = []

    def __call__(self) -> float:
        start, few_seconds = _processor_time(self.command, self.work, FEW)
        seconds, many_seconds = _processor_time(self.command, self.work, self.events)
        self.lines.append(many_seconds)
        return (seconds - start) / max(many_seconds - few_seconds, 1) * 1e9

    def note(self, name: str) -> str:
        """Return a note about the events that are not in the output."""
        missing = max(self.events - min(self.lines), 0) / self.events
        return f"{name} lost {missing:.0%}" if missing else f"{name} lost none"


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure each format with each workload."""
    try:
        peer_command = [find("bpftrace"), "-B", "full", "-e", PEER_PRINTF, "-p", "PID"]
        for work, description in WORKS.items():
            for name, words in COMMANDS.items():
                tracer = _Tracer([*PYTRACER, *words], work, EVENTS)
                peer = _Tracer(peer_command, work, PEER_EVENTS)
                values, peer_values = in_turns(rounds, tracer, peer)
                yield result(
                    f"text-{name}-{work}",
                    f"CPU time for an open as {name}, {description}",
                    "bpftrace's printf",
                    values,
                    peer_values,
                    target=0.33,
                    unit="ns",
                    note=f"{tracer.note('pytracer')}, {peer.note('bpftrace')}",
                )
    except MissingPeerError as missing:
        yield missing
