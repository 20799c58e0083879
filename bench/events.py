"""Events a second into Python, and what one costs the reader."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

from bench.measure import MissingPeerError, Result, in_turns, result

EVENTS = 3_000_000
PERF_EVENTS = 300_000  # the callback slows the work down fifty times: no more is needed to see it

PATIENCE = 600  # seconds


def read(source: str, events: int) -> dict[str, float]:
    """Send one flood of events through one reader. Raises MissingPeerError if the reader does not run
    here."""
    command = [sys.executable, "-m", "bench.readers", source, str(events)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise MissingPeerError(f"{source} takes more than {PATIENCE} s for {events} events") from None
    if done.returncode:
        raise MissingPeerError(f"{source} does not run here: {done.stderr.strip().splitlines()[-1:]}")
    taken: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return taken


class _Reader:
    """Takes delivered events a second, and keeps the other results."""

    def __init__(self, source: str, events: int) -> None:
        self.source, self.events = source, events
        self.cpu: list[float] = []
        self.lost = 0

    def __call__(self) -> float:
        taken = read(self.source, self.events)
        self.cpu.append(taken["cpu"] / taken["delivered"] * 1e9)
        self.lost += int(taken["made"] - taken["delivered"])
        return taken["delivered"] / taken["seconds"]

    def note(self) -> str:
        """Return a note about the lost events."""
        made = self.events * len(self.cpu)
        return (
            f"{self.source} lost {100 * self.lost / made:.0f} %"
            if self.lost > 0
            else f"{self.source} lost none"
        )


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Compare with BCC's ring-buffer callback and its perf-buffer callback."""
    try:
        mine, ring = _Reader("ours", EVENTS), _Reader("bcc-ring", EVENTS)
        yield from _rates("events-ring", mine, ring, 3, rounds)
        what = "CPU time of the reader for an event"
        yield result(
            "events-cpu", what, "BCC's ring-buffer callback", mine.cpu, ring.cpu, target=0.05, unit="ns"
        )
    except MissingPeerError as missing:
        yield missing
    try:
        perf = _Reader("bcc-perf", PERF_EVENTS)
        yield from _rates("events-perf", _Reader("ours", EVENTS), perf, 20, rounds)
    except MissingPeerError as missing:
        yield missing


def _rates(name: str, mine: _Reader, peer: _Reader, target: float, rounds: int) -> Iterator[Result]:
    takers: list[Callable[[], float]] = [mine, peer]
    taken = in_turns(rounds, *takers)
    label = {"bcc-ring": "BCC's ring-buffer callback", "bcc-perf": "BCC's perf-buffer callback"}[peer.source]
    yield result(
        name,
        "events a second into Python",
        label,
        *taken,
        target=target,
        at_most=False,
        unit="events/s",
        note=f"{mine.note()}, {peer.note()}",
    )
