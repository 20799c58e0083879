"""Measure the cost of a probe for the process that hits it: nanoseconds for each system call.

The bare work, pytracer and each peer are measured in turns, in the same rounds.
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
from pytracer.bpf.trial import return_code

CALLS = 3_000_000
FEW = 30_000  # calls, for peers that stop the program at each call
Tracing = contextlib.AbstractContextManager[object]
Benchmark = Callable[[], float]


def _calls() -> float:
    return work("calls", str(CALLS), cpu=0)


@contextlib.contextmanager
def empty_tracepoint() -> Iterator[None]:
    """Attach the floor of the cost: an empty program at the entry of system calls."""
    program = prog_load(ProgType.RAW_TRACEPOINT, return_code(0))
    link = raw_tracepoint.attach_to_event("sys_enter", program)
    try:
        yield
    finally:
        os.close(link)
        os.close(program)


def run_pytracer(*words: str) -> Tracing:
    """Start pytracer."""
    return tracing([*PYTRACER, *words, "-v", "-d", "600"], "pytracer: tracing")


def syscount(*words: str) -> Tracing:
    """Start BCC's syscount."""
    tool = find("syscount-bpfcc", "syscount")
    return tracing([tool, *words], "Tracing", bcc_environment(tool))


def bpftrace(script: str) -> Tracing:
    """Start bpftrace with a script that announces when it traces."""
    announce = 'interval:ms:100 { printf("tracing\\n"); }'
    return tracing([find("bpftrace"), "-e", f"{script} {announce}"], "tracing", bpftrace_environment())


def while_attached(attach: Callable[[], Tracing], run: Benchmark) -> Benchmark:
    """Return a benchmark that runs another one while something is attached."""

    def benchmark() -> float:
        with attach():
            return run()

    return benchmark


def _under(*command: str) -> Benchmark:
    """Return a benchmark of a program that another command starts and traces."""
    return lambda: work("calls", str(FEW), cpu=0, prefix=(find(command[0]), *command[1:]))


@dataclass(frozen=True)
class Peer:
    """A tool to compare with.

    ``run`` returns the time for a unit of work under the peer. ``target`` is the goal for pytracer's cost as
    a share of the peer's.
    """

    name: str
    label: str
    run: Benchmark
    target: float | None = None


@dataclass(frozen=True)
class Measure:
    """A measure: ``run`` returns the time for a unit of work, with ``attach`` under pytracer."""

    description: str
    run: Benchmark
    attach: Callable[[], Tracing]
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
        lambda: run_pytracer("syscalls", "--count"),
        (
            Peer("cost-count", "an empty raw tracepoint", while_attached(empty_tracepoint, _calls), 1.2),
            Peer("cost-count-bcc", "BCC syscount", while_attached(syscount, _calls)),
            Peer("cost-count-bpftrace", "bpftrace", while_attached(lambda: bpftrace(COUNT), _calls)),
            Peer("cost-count-strace", "strace -c", _under("strace", "-c", "-o", "/dev/null")),
        ),
    ),
    Measure(
        "what counting with latency costs a system call",
        _calls,
        lambda: run_pytracer("syscalls"),
        (
            Peer("cost-latency", "BCC syscount -L", while_attached(lambda: syscount("-L"), _calls), 0.6),
            Peer("cost-latency-bpftrace", "bpftrace", while_attached(lambda: bpftrace(LATENCY), _calls)),
            Peer("cost-latency-perf", "perf trace -s", _under("perf", "trace", "-s", "-o", "/dev/null")),
            Peer("cost-latency-strace", "strace -c -w", _under("strace", "-c", "-w", "-o", "/dev/null")),
        ),
    ),
)


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure system calls counted, and counted with latency."""
    return run_measures(MEASURES, rounds)


def run_measures(all_measures: Sequence[Measure], rounds: int) -> Iterator[Result | MissingPeerError]:
    """Yield what pytracer adds to the bare work, beside what each peer adds."""
    for measure in all_measures:
        available: list[Peer] = []
        for peer in measure.peers:
            try:
                peer.run()  # find out whether it runs here
                available.append(peer)
            except MissingPeerError as missing:
                yield MissingPeerError(f"{peer.name}: {missing}")
        try:
            bare, *times = in_turns(
                rounds,
                measure.run,
                while_attached(measure.attach, measure.run),
                *(peer.run for peer in available),
            )
            costs, *peer_costs = [[a - b for a, b in zip(measured, bare, strict=True)] for measured in times]
        except MissingPeerError as missing:
            yield missing
            continue
        note = f"the bare work takes {statistics.median(bare):.0f} ns"
        for peer, cost in zip(available, peer_costs, strict=True):
            try:
                yield result(
                    peer.name,
                    measure.description,
                    peer.label,
                    costs,
                    cost,
                    target=peer.target,
                    unit="ns",
                    note=note,
                )
            except MissingPeerError as missing:
                yield missing
