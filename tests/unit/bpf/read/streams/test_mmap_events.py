"""Test mapping events, on perf rings in memory."""

from __future__ import annotations

import os
import struct

import pytest

from pytracer.bpf.attach.perf import ATTR_SIZE
from pytracer.bpf.read.streams import mmap_events, perf_ring
from pytracer.bpf.read.streams.mmap_events import Mapped, MappingEvents
from pytracer.symbols.memory_maps import Mapping
from support.compilers import perf_attr
from support.rings import PerfRing

LOST, COMM, EXIT, FORK, MMAP2 = 2, 3, 4, 7, 10  # enum perf_event_type
EXEC = 1 << 13
SIZE = 8192
ATTR = f"""
    .type = PERF_TYPE_SOFTWARE, .size = {ATTR_SIZE}, .config = PERF_COUNT_SW_DUMMY,
    .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME, .mmap = 1, .comm = 1, .task = 1, .watermark = 1,
    .sample_id_all = 1, .mmap2 = 1, .comm_exec = 1, .use_clockid = 1, .wakeup_watermark = {SIZE},
    .clockid = CLOCK_MONOTONIC,
"""


class Machine:
    """CPUs with rings, and a clock."""

    def __init__(self, monkeypatch) -> None:
        self.now, self.cpus = 5_000_000_000, [0, 1]
        self.rings: dict[int, PerfRing] = {}
        self.attr, self.opened = b"", list[int]()
        monkeypatch.setattr(mmap_events, "_SIZE", SIZE)
        monkeypatch.setattr(perf_ring, "perf_event_open", self._open)
        monkeypatch.setattr(mmap_events, "online_cpus", lambda: self.cpus)
        monkeypatch.setattr(mmap_events.ktime, "monotonic_ns", lambda: self.now)

    def _open(self, attr: bytes, _: int, cpu: int) -> int:
        self.attr = attr
        self.rings[cpu] = PerfRing(SIZE)
        self.opened.append(os.dup(self.rings[cpu].fd))
        return self.opened[-1]

    def write(self, cpu: int, kind: int, pid: int, when: int, body: bytes, misc: int = 0) -> None:
        assert self.rings[cpu].record(kind, body + struct.pack("IIQ", pid, pid, when), misc)

    def maps(self, cpu: int, pid: int, when: int, name: bytes = b"/lib/a") -> None:
        body = struct.pack("IIQQQIIQQII", pid, pid, 0x7000, 0x3000, 0x1000, 8, 17, 99, 1, 5, 2)
        self.write(cpu, MMAP2, pid, when, body + name + bytes(8 - len(name) % 8))

    def names(self, cpu: int, pid: int, when: int, misc: int = 0) -> None:
        self.write(cpu, COMM, pid, when, struct.pack("II8s", pid, pid, b"sh"), misc)

    def forks(self, cpu: int, pid: int, parent: int, when: int, kind: int = FORK) -> None:
        self.write(cpu, kind, parent, when, struct.pack("IIIIQ", pid, parent, pid + 1, parent, when))

    def loses(self, cpu: int, when: int) -> None:
        self.write(cpu, LOST, 0, when, struct.pack("QQ", 1, 23))


def mapping_event(pid: int, when: int, path: str = "/lib/a") -> Mapped:
    return Mapped(pid, when, Mapping(0x7000, 0xA000, 0x1000, "08:11", 99, path))


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


@pytest.fixture
def events(machine):
    mapping_events = MappingEvents()
    yield mapping_events
    mapping_events.close()


def test_requests_use_the_numbers_of_the_kernels_header(machine, events, tmp_path):
    assert machine.attr == perf_attr(tmp_path, ATTR)


def test_closed_mmap_events_leave_no_descriptors(machine):
    events = MappingEvents()
    assert [os.fstat(fd).st_size > SIZE for fd in machine.opened] == [True, True]
    events.close()
    for fd in machine.opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_mappings_executions_and_forks_in_the_order_of_time(machine, events):
    machine.maps(0, 7, 30)
    machine.names(0, 7, 31)  # prctl(2)
    machine.forks(0, 7, 7, 32)  # a thread
    machine.forks(0, 7, 3, 33, EXIT)
    machine.maps(0, 8, 34)
    machine.names(1, 7, 20, EXEC)
    machine.forks(1, 7, 3, 10)
    machine.maps(1, 7, 40, b"//anon")
    assert events.drain() == []
    assert events.mapped_by([7]) == [
        Mapped(7, 10, parent=3),
        Mapped(7, 20),
        mapping_event(7, 30),
        mapping_event(7, 40, ""),
    ]


def test_each_event_is_returned_once_also_to_late_requests(machine, events):
    machine.maps(0, 7, 1)
    machine.maps(0, 8, 2)
    events.drain()
    assert events.mapped_by([7]) == [mapping_event(7, 1)]
    assert events.mapped_by([7]) == []
    machine.maps(0, 7, 3)
    machine.maps(0, 8, 4)
    events.drain()
    assert events.mapped_by([7, 8]) == [mapping_event(8, 2), mapping_event(7, 3), mapping_event(8, 4)]
    assert events.mapped_by([7, 8]) == []


def test_the_last_event_of_unrequested_processes_stays(machine, events, monkeypatch):
    monkeypatch.setattr(mmap_events, "_KEPT", 2 * 96)
    for when in (1, 2, 3):
        machine.maps(0, 8, when)
        events.drain()
        assert events.mapped_by([7]) == []
    assert events.mapped_by([8]) == [mapping_event(8, 2), mapping_event(8, 3)]


def test_losses_lie_between_the_records_around_them(machine, events):
    machine.maps(0, 7, 100)
    machine.loses(0, 130)
    machine.maps(0, 7, 140)
    assert events.drain() == [(100, 130)]
    machine.loses(0, 150)
    machine.loses(1, 160)
    assert events.drain() == [(140, 150), (0, 160)]


def test_a_full_ring_counts_losses_that_the_kernel_has_not_reported_yet(machine, events, monkeypatch):
    monkeypatch.setattr(mmap_events, "_LONGEST", SIZE - 3 * 96)
    for when in (1, 2, 3):
        machine.maps(0, 7, when)
    assert events.drain() == []
    for when in (4, 5, 6, 7):
        machine.maps(0, 7, when)
    assert events.drain() == [(7, machine.now)]


def test_a_cpu_that_comes_up_is_read_within_a_second(machine, events):
    begin = machine.now
    machine.cpus = [0, 1, 5]
    machine.now += 999_999_999
    assert events.drain() == []
    assert 5 not in machine.rings
    machine.now += 1
    assert events.drain() == [(begin, machine.now)]
    machine.maps(5, 7, 1)
    machine.now += 1_000_000_000
    assert events.drain() == []
    assert events.mapped_by([7]) == [mapping_event(7, 1)]
