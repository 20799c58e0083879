"""Measure the cost of a probe for the process that hits it: nanoseconds for each system call.

All measures that count the same are taken in the same turns: the bare work, pytracer, each peer.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.measure import MissingPeerError, Result, in_turns, result
from bench.peers import PYTRACER, bcc_environment, bpftrace_environment, find, tracing
from bench.work import work
from pytracer.bpf.attach import raw_tracepoint
from pytracer.bpf.sys import ProgType, prog_load
from pytracer.bpf.trial import returning

CALLS = 3_000_000
FEW = 30_000  # calls, for what stops the program at each
Held = contextlib.AbstractContextManager[object]
Taker = Callable[[], float]


def _calls() -> float:
    return work("calls", str(CALLS), cpu=0)


@contextlib.contextmanager
def empty_tracepoint() -> Iterator[None]:
    """Attach the floor: a program that does nothing, when a system call begins."""
    program = prog_load(ProgType.RAW_TRACEPOINT, returning(0))
    link = raw_tracepoint.attach_to_event("sys_enter", program)
    try:
        yield
    finally:
        os.close(link)
        os.close(program)


def ours(*words: str) -> Held:
    """Start pytracer."""
    return tracing([*PYTRACER, *words, "-v", "-d", "600"], "pytracer: tracing")


def syscount(*words: str) -> Held:
    """Start BCC's syscount."""
    tool = find("syscount-bpfcc", "syscount")
    return tracing([tool, *words], "Tracing", bcc_environment(tool))


def bpftrace(script: str) -> Held:
    """Start bpftrace. It says when it traces, not before."""
    announce = 'interval:ms:100 { printf("tracing\\n"); }'
    return tracing([find("bpftrace"), "-e", f"{script} {announce}"], "tracing", bpftrace_environment())


def while_held(held: Callable[[], Held], take: Taker) -> Taker:
    """Return a taker that measures while something is attached."""

    def taker() -> float:
        with held():
            return take()

    return taker


def _under(*command: str) -> Taker:
    """Return the time for calls of a program that another one starts and traces."""
    return lambda: work("calls", str(FEW), cpu=0, under=(find(command[0]), *command[1:]))


@dataclass(frozen=True)
class Peer:
    """``take`` gives what a unit takes beside it; ``target`` is for pytracer's cost as a part of its."""

    name: str
    label: str
    take: Taker
    target: float | None = None


@dataclass(frozen=True)
class Measure:
    """``take`` gives what a unit takes, alone or while ``mine`` is at work."""

    what: str
    take: Taker
    mine: Callable[[], Held]
    peers: tuple[Peer, ...]


COUNT = "tracepoint:raw_syscalls:sys_enter { @[args->id] = count(); }"
LATENCY = """
tracepoint:raw_syscalls:sys_enter { @start[tid] = nsecs; }
tracepoint:raw_syscalls:sys_exit /@start[tid]/ {
    @calls[args->id] = count();
    @ns[args->id] = sum(nsecs - @start[tid]);
    delete(@start[tid]);
}
"""
MEASURES = (
    Measure(
        "what counting costs a system call",
        _calls,
        lambda: ours("syscalls", "--count"),
        (
            Peer("cost-count", "an empty raw tracepoint", while_held(empty_tracepoint, _calls), 1.2),
            Peer("cost-count-bcc", "BCC syscount", while_held(syscount, _calls)),
            Peer("cost-count-bpftrace", "bpftrace", while_held(lambda: bpftrace(COUNT), _calls)),
            Peer("cost-count-strace", "strace -c", _under("strace", "-c", "-o", "/dev/null")),
        ),
    ),
    Measure(
        "what counting with latency costs a system call",
        _calls,
        lambda: ours("syscalls"),
        (
            Peer("cost-latency", "BCC syscount -L", while_held(lambda: syscount("-L"), _calls), 0.6),
            Peer("cost-latency-bpftrace", "bpftrace", while_held(lambda: bpftrace(LATENCY), _calls)),
            Peer("cost-latency-perf", "perf trace -s", _under("perf", "trace", "-s", "-o", "/dev/null")),
            Peer("cost-latency-strace", "strace -c -w", _under("strace", "-c", "-w", "-o", "/dev/null")),
        ),
    ),
)


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure system calls counted, and counted with latency."""
    return measured(MEASURES, rounds)


def measured(all_of: Sequence[Measure], rounds: int) -> Iterator[Result | MissingPeerError]:
    """Yield what each adds to the bare work, beside its peers."""
    for one in all_of:
        there: list[Peer] = []
        for peer in one.peers:
            try:
                peer.take()  # once before it counts: whether it runs here at all
                there.append(peer)
            except MissingPeerError as missing:
                yield MissingPeerError(f"{peer.name}: {missing}")
        try:
            bare, *taken = in_turns(
                rounds, one.take, while_held(one.mine, one.take), *(peer.take for peer in there)
            )
            mine, *theirs = [[a - b for a, b in zip(some, bare, strict=True)] for some in taken]
        except MissingPeerError as missing:
            yield missing
            continue
        note = f"the bare work takes {statistics.median(bare):.0f} ns"
        for peer, cost in zip(there, theirs, strict=True):
            try:
                yield result(
                    peer.name, one.what, peer.label, mine, cost, target=peer.target, unit="ns", note=note
                )
            except MissingPeerError as missing:
                yield missing
