"""Measure what questions cost a server: the time of its load, in turns without a tracer, with pytracer, and
with bpftrace asking the same."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence

from bench.measure import MissingPeerError, in_turns
from bench.peers import PYTRACER, bpftrace_environment, find, tracing
from bench.questions import UNTRACED, Asker, Subject

ROUNDS = 5
TURN = 2.0
"""Seconds for which a turn repeats the load, at least: a short load takes as long as chance has it."""
BY_BPFTRACE = "bpftrace: "
_BEGIN = 'BEGIN { printf("attached\\n"); } '
_SETTLES = 0.5  # seconds in which bpftrace attaches what comes after BEGIN
_SYSTEM_CALLS = (
    'tracepoint:raw_syscalls:sys_enter /comm == "{comm}"/ {{ @start[tid] = nsecs; }} '
    "tracepoint:raw_syscalls:sys_exit /@start[tid]/ "
    "{{ @calls[args->id] = count(); @ns[args->id] = sum(nsecs - @start[tid]); delete(@start[tid]); }}"
)


def measure_costs(asker: Asker) -> None:
    """Take the seconds of the load in rounds, for each question that is about it."""
    subject = asker.subject
    subject.work()
    take = _repeated(subject)
    takers: dict[str, Callable[[], float]] = {UNTRACED: take}
    for words, program in comparisons(subject):
        command = asker.describe(words)
        tracer = [*PYTRACER, words[0], "-v", "-f", "json", *words[1:], *asker.filters]
        takers[command] = _traced(take, tracer, "pytracer: tracing")
        with contextlib.suppress(MissingPeerError):
            if program:
                peer = [find("bpftrace"), *_process(subject), "-e", _BEGIN + program]
                takers[BY_BPFTRACE + command] = _traced(take, peer, "attached", _SETTLES)
    asker.service.costs = dict(zip(takers, in_turns(ROUNDS, *takers.values()), strict=True))


def comparisons(subject: Subject) -> list[tuple[tuple[str, ...], str]]:
    """Return the commands whose costs are measured, each with the program of bpftrace that asks the same."""
    asked = [(one.command, one.bpftrace) for one in subject.questions if one.work is None]
    return [*asked, (("syscalls",), _SYSTEM_CALLS.format(comm=subject.process)), (("why",), "")]


def _process(subject: Subject) -> list[str]:
    """Return the words that let bpftrace find probes in a process; it has one at most."""
    return [] if subject.children else ["-p", str(subject.server.pid)]


def _repeated(subject: Subject) -> Callable[[], float]:
    """Return what repeats the load for a turn, and returns the seconds that one took."""

    def take(times: int) -> float:
        start = time.monotonic()
        for _ in range(times):
            subject.work()
        return (time.monotonic() - start) / times

    times = math.ceil(TURN / take(1))
    return lambda: take(times)


def _traced(
    take: Callable[[], float], words: Sequence[str], ready: str, settles: float = 0.0
) -> Callable[[], float]:
    def take_traced() -> float:
        with tracing(words, ready, bpftrace_environment()):
            time.sleep(settles)
            return take()

    return take_traced
