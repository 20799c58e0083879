"""Measure the cost of XDP and traffic control for a frame: out by one end of a veth pair, in by the other."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
from collections.abc import Iterator
from pathlib import Path

from bench.cost import Measure, Peer, ours, while_held
from bench.measure import MissingPeerError, Result, in_turns, result
from bench.namespaces import VETH, network
from bench.work import work
from pytracer.bpf.attach import attacher_of
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.sys import prog_load
from pytracer.bpf.trial import returning
from pytracer.features.kernel_facts import RunningKernel
from pytracer.spec import Clsact, Probe, SocketFilter, Tcx, Xdp

FRAMES, SLICES = 200_000, 5
LOST = 0.01  # of the frames, at most: what a queue has dropped took less time
EMPTY = "an empty program"
_COUNTERS = Path("/proc/thread-self/net/dev")


def frames() -> float:
    """Return the nanoseconds for a frame: the minimum of some slices, as any other load only adds."""
    before = _arrived()
    taken = min(work("frames", str(FRAMES), "far", cpu=0) for _ in range(SLICES))
    lost = SLICES * FRAMES - (_arrived() - before)
    if lost > LOST * SLICES * FRAMES:
        raise MissingPeerError(f"frames: {lost} of {SLICES * FRAMES} were dropped on their way")
    return taken


def _arrived() -> int:
    """Return the number of frames received by ``near``."""
    [line] = [line for line in _COUNTERS.read_text().splitlines() if line.strip().startswith("near:")]
    return int(line.partition(":")[2].split()[1])


@contextlib.contextmanager
def empty(probe: Probe, choice: str, interface: str = "near") -> Iterator[None]:
    """Attach the floor: a program on an interface that passes everything on."""
    kind = attacher_of(probe)
    how = kind.load_attributes(probe)
    program = prog_load(how.type, returning(how.result))
    try:
        links = kind.attach(
            probe, AttachTarget("", {socket.if_nametoindex(interface): interface}, choice), program
        )
        try:
            yield
        finally:
            for link in links:
                link.close()
    finally:
        os.close(program)


def _tc() -> Probe:
    """Attach to traffic control with the alternative that this kernel supports."""
    return Tcx("") if RunningKernel().probe(Tcx("")).is_supported else Clsact("")


# What an empty program adds to the bare work is less than rounds differ by. A ratio of such says nothing: the
# whole of what a frame takes is compared, and there is no target.
MEASURES = (
    Measure(
        "what a frame takes with `xdpcount` in veth's driver",
        frames,
        lambda: ours("xdpcount", "near", "--mode", "native"),
        (Peer("frame-xdp-native", EMPTY, while_held(lambda: empty(Xdp(""), "native"), frames)),),
    ),
    Measure(
        "what a frame takes with `xdpcount` behind the driver",
        frames,
        lambda: ours("xdpcount", "near", "--mode", "generic"),
        (Peer("frame-xdp-generic", EMPTY, while_held(lambda: empty(Xdp(""), "generic"), frames)),),
    ),
    Measure(
        "what a frame takes with `tccount`, as it comes in",
        frames,
        lambda: ours("tccount", "near"),
        (
            Peer("frame-tc", EMPTY, while_held(lambda: empty(_tc(), "in"), frames)),
            Peer(
                "frame-tc-filter",
                "`tccount --filter 'udp and not port 53'`",
                while_held(lambda: ours("tccount", "near", "--filter", "udp and not port 53"), frames),
            ),
        ),
    ),
    Measure(
        "what a frame takes with `sockcount`",
        frames,
        lambda: ours("sockcount", "near"),
        (Peer("frame-socket", EMPTY, while_held(lambda: empty(SocketFilter(""), ""), frames)),),
    ),
)


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure XDP in the driver and behind it; traffic control, with and without a filter; packet sockets."""
    try:
        with network(VETH):
            for one in MEASURES:
                yield from _whole(one, rounds)
    except MissingPeerError as missing:
        yield missing


def _whole(one: Measure, rounds: int) -> Iterator[Result]:
    """Yield the time of a unit with pytracer and with each peer; that of the bare work is in a note."""
    takers = (one.take, while_held(one.mine, one.take), *(peer.take for peer in one.peers))
    bare, mine, *theirs = in_turns(rounds, *takers)
    for peer, cost in zip(one.peers, theirs, strict=True):
        adds = statistics.median(a - b for a, b in zip(mine, cost, strict=True))
        note = f"the bare work takes {statistics.median(bare):.0f} ns, ours {adds:+.0f} ns to {peer.label}"
        yield result(peer.name, one.what, peer.label, mine, cost, target=peer.target, unit="ns", note=note)
