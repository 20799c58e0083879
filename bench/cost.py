"""What a probe costs the one that runs into it: nanoseconds a system call, and a packet."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.measure import MissingPeerError, Result, in_turns, result
from bench.peers import PYTRACER, bcc_environment, find, tracing
from bench.work import work
from pytracer.bpf.attach import raw_tracepoint, socket_filter
from pytracer.bpf.probing import returning
from pytracer.bpf.sys import ProgType, prog_load

CALLS, PACKETS = 3_000_000, 1_000_000
Held = contextlib.AbstractContextManager[object]


def _calls() -> float:
    return work("calls", str(CALLS), cpu=0)


def _packets() -> float:
    return work("packets", str(PACKETS), cpu=0)


@contextlib.contextmanager
def empty_tracepoint() -> Iterator[None]:
    """The floor: a program that does nothing, when a system call begins."""
    program = prog_load(ProgType.RAW_TRACEPOINT, returning(0))
    link = raw_tracepoint.attach("sys_enter", program)
    try:
        yield
    finally:
        os.close(link)
        os.close(program)


@contextlib.contextmanager
def empty_filter() -> Iterator[None]:
    """The floor: a socket filter that takes nothing."""
    program = prog_load(ProgType.SOCKET_FILTER, returning(0))
    packets = socket_filter.attach(socket.if_nametoindex("lo"), program)
    try:
        yield
    finally:
        os.close(packets)
        os.close(program)


def ours(*words: str) -> Held:
    """pytracer at work."""
    return tracing([*PYTRACER, *words, "-v", "-d", "600"], "pytracer: tracing")


def syscount(*words: str) -> Held:
    """BCC's tool at work."""
    tool = find("syscount-bpfcc", "syscount")
    return tracing([tool, *words], "Tracing", bcc_environment(tool))


def _while(held: Callable[[], Held], take: Callable[[], float]) -> Callable[[], float]:
    def taker() -> float:
        with held():
            return take()

    return taker


def _against(
    take: Callable[[], float], rounds: int, mine: Callable[[], Held], theirs: Callable[[], Held]
) -> tuple[Sequence[float], Sequence[float], str]:
    """What each adds to the bare work; and how long that takes, in words."""
    bare, one, other = in_turns(rounds, take, _while(mine, take), _while(theirs, take))
    added = [
        [with_it - without for with_it, without in zip(taken, bare, strict=True)] for taken in (one, other)
    ]
    return added[0], added[1], f"the bare work takes {statistics.median(bare):.0f} ns"


@dataclass(frozen=True)
class _Measure:
    name: str
    what: str
    peer: str
    take: Callable[[], float]
    mine: Callable[[], Held]
    theirs: Callable[[], Held]
    target: float


MEASURES = (
    _Measure(
        "cost-count",
        "what counting costs a system call",
        "an empty raw tracepoint",
        _calls,
        lambda: ours("syscalls", "--count"),
        empty_tracepoint,
        1.2,
    ),
    _Measure(
        "cost-latency",
        "what counting with latency costs a system call",
        "BCC syscount -L",
        _calls,
        lambda: ours("syscalls"),
        lambda: syscount("-L"),
        0.6,
    ),
    _Measure(
        "cost-packet",
        "what `sockcount` costs a packet",
        "an empty socket filter",
        _packets,
        lambda: ours("sockcount", "lo"),
        empty_filter,
        1.3,
    ),
)


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """System calls counted, counted with latency; packets."""
    for one in MEASURES:
        try:
            mine, theirs, note = _against(one.take, rounds, one.mine, one.theirs)
            yield result(one.name, one.what, one.peer, mine, theirs, target=one.target, unit="ns", note=note)
        except MissingPeerError as missing:
            yield missing
