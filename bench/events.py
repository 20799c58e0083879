"""Measure events per second into Python, and the reader's CPU time for an event."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

from bench.measure import MissingPeerError, Result, in_turns, result

EVENTS = 3_000_000
PERF_EVENTS = 300_000  # the callback slows the work down fifty times, so that fewer are enough

TIMEOUT = 600  # seconds


def read(source: str, events: int) -> dict[str, float]:
    """Send a flood of events through a reader, and return its report.

    Raises MissingPeerError if the reader does not run here.
    """
    command = [sys.executable, "-m", "bench.readers", source, str(events)]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise MissingPeerError(f"{source} takes more than {TIMEOUT} s for {events} events") from None
    if process.returncode:
        raise MissingPeerError(f"{source} does not run here: {process.stderr.strip().splitlines()[-1:]}")
    report: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return report


class _Reader:
    """A benchmark of delivered events per second; it also keeps the CPU times and losses."""

    def __init__(self, source: str, events: int) -> None:
        self.source, self.events = source, events
        self.cpu: list[float] = []
        self.lost = 0

    def __call__(self) -> float:
        report = read(self.source, self.events)
        self.cpu.append(report["cpu"] / report["delivered"] * 1e9)
        self.lost += int(report["made"] - report["delivered"])
        return report["delivered"] / report["seconds"]

    def note(self) -> str:
        """Return a note about the lost events."""
        event_count = self.events * len(self.cpu)
        return (
            f"{self.source} lost {100 * self.lost / event_count:.0f} %"
            if self.lost > 0
            else f"{self.source} lost none"
        )


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Compare with BCC's ring-buffer callback and its perf-buffer callback."""
    try:
        pytracer_reader, ring_reader = _Reader("pytracer", EVENTS), _Reader("bcc-ring", EVENTS)
        yield from _rates("events-ring", pytracer_reader, ring_reader, 3, rounds)
        description = "CPU time of the reader for an event"
        yield result(
            "events-cpu",
            description,
            "BCC's ring-buffer callback",
            pytracer_reader.cpu,
            ring_reader.cpu,
            target=0.05,
            unit="ns",
        )
    except MissingPeerError as missing:
        yield missing
    try:
        perf_reader = _Reader("bcc-perf", PERF_EVENTS)
        yield from _rates("events-perf", _Reader("pytracer", EVENTS), perf_reader, 20, rounds)
    except MissingPeerError as missing:
        yield missing


def _rates(name: str, reader: _Reader, peer_reader: _Reader, target: float, rounds: int) -> Iterator[Result]:
    takers: list[Callable[[], float]] = [reader, peer_reader]
    rates = in_turns(rounds, *takers)
    label = {"bcc-ring": "BCC's ring-buffer callback", "bcc-perf": "BCC's perf-buffer callback"}[
        peer_reader.source
    ]
    yield result(
        name,
        "events a second into Python",
        label,
        *rates,
        target=target,
        at_most=False,
        unit="events/s",
        note=f"{reader.note()}, {peer_reader.note()}",
    )
