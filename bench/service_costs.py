"""Measure what questions cost a server: the time of its load, in turns without a tracer, with pytracer, and
with bpftrace asking the same."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from bench.measure import MissingPeerError, in_turns
from bench.peers import PYTRACER, bpftrace_environment, find, tracing
from bench.questions import UNTRACED, Asker, Subject

ROUNDS = 3
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
    takers: dict[str, Callable[[], float]] = {UNTRACED: lambda: _timed(subject)}
    for words, program in comparisons(subject):
        command = asker.describe(words)
        tracer = [*PYTRACER, words[0], "-v", "-f", "json", *words[1:], *asker.filters]
        takers[command] = _traced(subject, tracer, "pytracer: tracing")
        with contextlib.suppress(MissingPeerError):
            if program:
                peer = [find("bpftrace"), *_process(subject), "-e", _BEGIN + program]
                takers[BY_BPFTRACE + command] = _traced(subject, peer, "attached", _SETTLES)
    subject.work()
    asker.service.costs = dict(zip(takers, in_turns(ROUNDS, *takers.values()), strict=True))


def comparisons(subject: Subject) -> list[tuple[tuple[str, ...], str]]:
    """Return the commands whose costs are measured, each with the program of bpftrace that asks the same."""
    asked = [(one.command, one.bpftrace) for one in subject.questions if one.work is None]
    return [*asked, (("syscalls",), _SYSTEM_CALLS.format(comm=subject.process)), (("why",), "")]


def _process(subject: Subject) -> list[str]:
    """Return the words that let bpftrace find probes in a process; it has one at most."""
    return [] if subject.children else ["-p", str(subject.server.pid)]


def _timed(subject: Subject) -> float:
    start = time.monotonic()
    subject.work()
    return time.monotonic() - start


def _traced(subject: Subject, words: Sequence[str], ready: str, settles: float = 0.0) -> Callable[[], float]:
    def take() -> float:
        with tracing(words, ready, bpftrace_environment()):
            time.sleep(settles)
            return _timed(subject)

    return take
