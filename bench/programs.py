"""Measure programs on packets by themselves: the kernel runs each on one packet, again and again.

This is little beside the whole path of a packet, where it is less than the differences of rounds (frames.py).
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytracer
from bench.frames import EMPTY
from bench.measure import MissingPeerError, Result, in_turns, result
from bench.namespaces import VETH, network
from pytracer.bpf.attach import attacher_of
from pytracer.bpf.sys import address, bpf, program_info
from pytracer.bpf.trial import load, returning
from pytracer.errors import PytracerError
from pytracer.spec import CgroupSkb, PacketFanout, Probe, SocketFilter, Tcx, Xdp

RUNS, SLICES = 200_000, 10
_TEST_RUN = 10  # BPF_PROG_TEST_RUN, of enum bpf_cmd
_UDP = bytes([0x45, 0, 0, 92, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]) + bytes(72)
_FRAME = bytes([2, 0, 0, 0, 0, 0xEE, 2, 0, 0, 0, 0, 1, 8, 0])
# The name of the measure, the tracer's words, its program, and the probe that it is for.
PROGRAMS = (
    ("program-xdp", ("xdpcount", "near"), "count", Xdp("")),
    ("program-tc", ("tccount", "near"), "count", Tcx("")),
    ("program-socket", ("sockcount", "near"), "count", SocketFilter("")),
    ("program-fanout", ("fanoutcount", "near"), "choose", PacketFanout("")),
    ("program-cgroup", ("cgroupcount",), "outgoing", CgroupSkb("", point="egress")),
)


def cost(program: int, packet: bytes) -> float:
    """Return the nanoseconds of processor time for a run: the minimum of some slices. Raises OSError."""
    data = bytearray(packet)
    attr = struct.pack("IIIIQQII", program, 0, len(data), 0, address(data), 0, RUNS, 0)
    taken = []
    for _ in range(SLICES):
        begun = time.thread_time_ns()
        bpf(_TEST_RUN, attr)
        taken.append((time.thread_time_ns() - begun) / RUNS)
    return min(taken)


def packet_for(probe: Probe) -> bytes:
    """Return a datagram. The kernel takes an Ethernet header off before it runs a socket's program, which in
    life sees one: so there is another behind it."""
    return _FRAME * (2 if type(probe) is SocketFilter else 1) + _UDP


def loaded(name: str) -> int:
    """Return the descriptor of this process for its program of this name."""
    for descriptor in Path("/proc/self/fd").iterdir():
        if descriptor.is_symlink() and str(descriptor.readlink()) == "anon_inode:bpf-prog":
            number = int(descriptor.name)
            if program_info(number)[1] == name:
                return number
    raise MissingPeerError(f"no program {name} is loaded")


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure each tracer of packets beside a program that does nothing."""
    try:
        with network(VETH):
            for name, words, program, probe in PROGRAMS:
                yield _beside_an_empty_one(name, words, program, probe, rounds)
    except (MissingPeerError, OSError, PytracerError) as missing:
        yield MissingPeerError(f"programs: {missing}")


def _beside_an_empty_one(name: str, words: Sequence[str], program: str, probe: Probe, rounds: int) -> Result:
    how, packet = attacher_of(probe).load_attributes(probe), packet_for(probe)
    empty = load(how.type, returning(how.result), attach_type=how.attach_type)
    try:
        with pytracer.open(*words):
            number = loaded(program)
            mine, theirs = in_turns(rounds, lambda: cost(number, packet), lambda: cost(empty, packet))
    finally:
        os.close(empty)
    what = f"what the program of `{words[0]}` takes a packet"
    return result(name, what, EMPTY, mine, theirs, target=None, unit="ns")
