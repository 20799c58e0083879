"""Measure what XDP and traffic control cost a frame that passes a veth pair."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
from collections.abc import Iterator
from pathlib import Path

from bench.cost import Measure, Peer, run_pytracer, while_attached
from bench.measure import MissingPeerError, Result, in_turns, result
from bench.namespaces import VETH, network
from bench.work import work
from pytracer.bpf.attach import attacher_of
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.sys import prog_load
from pytracer.bpf.trial import return_code
from pytracer.features.kernel_facts import RunningKernel
from pytracer.spec import Clsact, Probe, SocketFilter, Tcx, Xdp

FRAMES, SLICES = 200_000, 5
LOST_MAX = 0.01  # of the frames: a frame that a queue dropped takes less time
EMPTY = "an empty program"
_COUNTERS = Path("/proc/thread-self/net/dev")


def frames() -> float:
    """Return the nanoseconds for a frame: the minimum of some slices, as other load only adds to it."""
    before = _arrived()
    nanoseconds = min(work("frames", str(FRAMES), "far", cpu=0) for _ in range(SLICES))
    lost = SLICES * FRAMES - (_arrived() - before)
    if lost > LOST_MAX * SLICES * FRAMES:
        raise MissingPeerError(f"frames: {lost} of {SLICES * FRAMES} were dropped on their way")
    return nanoseconds


def _arrived() -> int:
    """Return the number of frames received by ``near``."""
    [line] = [line for line in _COUNTERS.read_text().splitlines() if line.strip().startswith("near:")]
    return int(line.partition(":")[2].split()[1])


@contextlib.contextmanager
def empty(probe: Probe, choice: str, interface: str = "near") -> Iterator[None]:
    """Attach the floor of the cost: an empty program on an interface, which passes every frame."""
    kind = attacher_of(probe)
    attributes = kind.load_attributes(probe)
    program = prog_load(attributes.type, return_code(attributes.result))
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


# An empty program adds less to the bare work than rounds differ by, so that a ratio of such costs says
# nothing. Whole times of a frame are compared instead, without a target.
MEASURES = (
    Measure(
        "what a frame takes with `xdpcount` in veth's driver",
        frames,
        lambda: run_pytracer("xdpcount", "near", "--mode", "native"),
        (Peer("frame-xdp-native", EMPTY, while_attached(lambda: empty(Xdp(""), "native"), frames)),),
    ),
    Measure(
        "what a frame takes with `xdpcount` behind the driver",
        frames,
        lambda: run_pytracer("xdpcount", "near", "--mode", "generic"),
        (Peer("frame-xdp-generic", EMPTY, while_attached(lambda: empty(Xdp(""), "generic"), frames)),),
    ),
    Measure(
        "what a frame takes with `tccount`, as it comes in",
        frames,
        lambda: run_pytracer("tccount", "near"),
        (
            Peer("frame-tc", EMPTY, while_attached(lambda: empty(_tc(), "in"), frames)),
            Peer(
                "frame-tc-filter",
                "`tccount --filter 'udp and not port 53'`",
                while_attached(
                    lambda: run_pytracer("tccount", "near", "--filter", "udp and not port 53"), frames
                ),
            ),
        ),
    ),
    Measure(
        "what a frame takes with `sockcount`",
        frames,
        lambda: run_pytracer("sockcount", "near"),
        (Peer("frame-socket", EMPTY, while_attached(lambda: empty(SocketFilter(""), ""), frames)),),
    ),
)


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure XDP in the driver and behind it; traffic control, with and without a filter; packet sockets."""
    try:
        with network(VETH):
            for measure in MEASURES:
                yield from _measure_whole(measure, rounds)
    except MissingPeerError as missing:
        yield missing


def _measure_whole(measure: Measure, rounds: int) -> Iterator[Result]:
    """Yield the time for a unit of work with pytracer and with each peer; a note has that of the bare
    work."""
    takers = (measure.run, while_attached(measure.attach, measure.run), *(peer.run for peer in measure.peers))
    bare, times, *peer_times = in_turns(rounds, *takers)
    for peer, cost in zip(measure.peers, peer_times, strict=True):
        difference = statistics.median(a - b for a, b in zip(times, cost, strict=True))
        note = (
            f"the bare work takes {statistics.median(bare):.0f} ns, ours {difference:+.0f} ns to {peer.label}"
        )
        yield result(
            peer.name, measure.description, peer.label, times, cost, target=peer.target, unit="ns", note=note
        )
