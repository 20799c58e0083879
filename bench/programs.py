"""Measure programs for packets alone: the kernel runs each on one packet, again and again
(BPF_PROG_TEST_RUN).

Their times are small beside the whole path of a packet, where they are less than rounds differ by
(frames.py).
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
from pytracer.bpf.trial import load, return_code
from pytracer.errors import PytracerError
from pytracer.spec import CgroupSkb, PacketFanout, Probe, SocketFilter, Tcx, Xdp

RUNS, SLICES = 200_000, 10
_TEST_RUN = 10  # BPF_PROG_TEST_RUN, of enum bpf_cmd
_UDP = bytes([0x45, 0, 0, 92, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]) + bytes(72)
_FRAME = bytes([2, 0, 0, 0, 0, 0xEE, 2, 0, 0, 0, 0, 1, 8, 0])
# The name of the measure, the tracer's command line, its program, its probe and the target.
PROGRAMS = (
    ("program-xdp", ("xdpcount", "near"), "count", Xdp(""), 1.8),
    ("program-tc", ("tccount", "near"), "count", Tcx(""), 1.8),
    ("program-socket", ("sockcount", "near"), "count", SocketFilter(""), 1.8),
    ("program-fanout", ("fanoutcount", "near"), "choose", PacketFanout(""), None),
    ("program-cgroup", ("cgroupcount",), "outgoing", CgroupSkb("", point="egress"), None),
)


def cost(program: int, packet: bytes) -> float:
    """Return the nanoseconds of processor time for a run: the minimum of some slices. Raises OSError."""
    data = bytearray(packet)
    attr = struct.pack("IIIIQQII", program, 0, len(data), 0, address(data), 0, RUNS, 0)
    times = []
    for _ in range(SLICES):
        start = time.thread_time_ns()
        bpf(_TEST_RUN, attr)
        times.append((time.thread_time_ns() - start) / RUNS)
    return min(times)


def packet_for(probe: Probe) -> bytes:
    """Return a packet for a program: a UDP datagram in an Ethernet frame.

    For a socket filter it has two Ethernet headers: a test run removes the first, while a program on a packet
    socket sees one.
    """
    return _FRAME * (2 if type(probe) is SocketFilter else 1) + _UDP


def loaded(name: str) -> int:
    """Return this process's descriptor of the loaded program of this name. Raises MissingPeerError."""
    for descriptor in Path("/proc/self/fd").iterdir():
        if descriptor.is_symlink() and str(descriptor.readlink()) == "anon_inode:bpf-prog":
            number = int(descriptor.name)
            if program_info(number)[1] == name:
                return number
    raise MissingPeerError(f"no program {name} is loaded")


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure the program of each packet tracer beside an empty one."""
    try:
        with network(VETH):
            for name, words, program, probe, target in PROGRAMS:
                yield _measure_beside_empty(name, words, program, probe, target, rounds)
    except (MissingPeerError, OSError, PytracerError) as missing:
        yield MissingPeerError(f"programs: {missing}")


def _measure_beside_empty(
    name: str, words: Sequence[str], program: str, probe: Probe, target: float | None, rounds: int
) -> Result:
    attributes, packet = attacher_of(probe).load_attributes(probe), packet_for(probe)
    empty = load(attributes.type, return_code(attributes.result), attach_type=attributes.attach_type)
    try:
        with pytracer.open(*words):
            number = loaded(program)
            times, empty_times = in_turns(rounds, lambda: cost(number, packet), lambda: cost(empty, packet))
    finally:
        os.close(empty)
    description = f"what the program of `{words[0]}` takes a packet"
    return result(name, description, EMPTY, times, empty_times, target=target, unit="ns")
