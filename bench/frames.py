"""What XDP and traffic control cost a frame: out by one end of a veth pair, in by the other."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator

from bench.cost import Measure, Peer, measured, ours, while_held
from bench.measure import MissingPeerError, Result
from bench.work import work
from pytracer.bpf.attach import kind_of
from pytracer.bpf.attach.kind import Place
from pytracer.bpf.facts import KernelFacts
from pytracer.bpf.probing import returning
from pytracer.bpf.sys import prog_load
from pytracer.spec import Clsact, Probe, Tcx, Xdp

FRAMES = 1_000_000
CLONE_NEWNET = 0x40000000


def _frames() -> float:
    return work("frames", str(FRAMES), "far", cpu=0)


@contextlib.contextmanager
def network() -> Iterator[None]:
    """A network of this process's own for a while: what goes out by ``far`` comes in by ``near``."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            raise MissingPeerError("frames: no network namespace can be made")
        try:
            for words in ("add far type veth peer name near", "set near up", "set far up"):
                subprocess.run(["ip", "link", *words.split()], check=True)
            yield
        finally:
            libc.setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


@contextlib.contextmanager
def empty(probe: Probe, choice: str) -> Iterator[None]:
    """The floor: a program on the near end that passes everything on."""
    kind = kind_of(probe)
    how = kind.load_as(probe)
    program = prog_load(how.type, returning(how.result))
    try:
        links = kind.put(probe, Place("", {socket.if_nametoindex("near"): "near"}, choice), program)
        try:
            yield
        finally:
            for link in links:
                link.close()
    finally:
        os.close(program)


def _tc() -> Probe:
    """Traffic control by the way that this kernel has."""
    return Tcx("") if KernelFacts().probe(Tcx("")).ok else Clsact("")


# An empty program on these hooks costs next to nothing: there is no target, only what counting takes.
MEASURES = (
    Measure(
        "what `xdpcount` costs a frame, in veth's driver",
        _frames,
        lambda: ours("xdpcount", "near", "--mode", "native"),
        (
            Peer(
                "frame-xdp-native", "an empty program", while_held(lambda: empty(Xdp(""), "native"), _frames)
            ),
        ),
    ),
    Measure(
        "what `xdpcount` costs a frame, behind the driver",
        _frames,
        lambda: ours("xdpcount", "near", "--mode", "generic"),
        (
            Peer(
                "frame-xdp-generic",
                "an empty program",
                while_held(lambda: empty(Xdp(""), "generic"), _frames),
            ),
        ),
    ),
    Measure(
        "what `tccount` costs a packet that comes in",
        _frames,
        lambda: ours("tccount", "near"),
        (
            Peer("frame-tc", "an empty program", while_held(lambda: empty(_tc(), "in"), _frames)),
            Peer(
                "frame-tc-filter",
                "`tccount --filter 'udp and not port 53'`",
                while_held(lambda: ours("tccount", "near", "--filter", "udp and not port 53"), _frames),
            ),
        ),
    ),
)


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """XDP in the driver and behind it; traffic control, with and without a filter."""
    try:
        with network():
            yield from measured(MEASURES, rounds)
    except MissingPeerError as missing:
        yield missing
