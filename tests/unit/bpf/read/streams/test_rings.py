"""Test readers of rings, on rings in memory that the test writes."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest

from pytracer.bpf.attach.perf import ATTR_SIZE
from pytracer.bpf.read.streams import perf_buffer, perf_ring, records, ringbuf
from pytracer.bpf.read.streams.perf_buffer import PerfReader
from pytracer.bpf.read.streams.ringbuf import RingReader
from support.compilers import perf_attr
from support.rings import PAGE, BpfRing, PerfRing, fake_epoll

FIXED = np.dtype([("ns", "u8"), ("serial", "u4")])  # 12 bytes: a record takes 24
LONG = np.dtype([("ns", "u8"), ("serial", "u4"), ("text", "S500")])


@pytest.fixture(autouse=True)
def _ignores_signals(monkeypatch):
    fake_epoll(monkeypatch)


def event(serial: int, text: bytes | None = None) -> bytes:
    head = struct.pack("QI", serial, serial)
    return head if text is None else head + text + b"\0"


def serials(batches) -> list[int]:
    return [serial for batch in batches for serial in batch["serial"].tolist()]


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def read_all(reader, **options) -> list:
    actual = []
    while (batch := reader.read(**options)) is not None:
        actual.append(batch)
    return actual


@pytest.fixture
def bpf():
    bpf_ring = BpfRing()
    yield bpf_ring
    bpf_ring.close()


@pytest.mark.parametrize("begin", [0, 2**32 - 4096, 2**40 + 8])
@pytest.mark.parametrize("chunk", [64, 1000, 1 << 20])
@pytest.mark.parametrize("kind", ["fixed", "long"])
@pytest.mark.parametrize("discards", [0.0, 0.3])
def test_a_ring_gives_all_records_once_and_in_order(monkeypatch, bpf, kind, chunk, begin, discards):
    monkeypatch.setattr(ringbuf, "CHUNK", max(chunk, 600 if kind == "long" else 0))
    monkeypatch.setattr(records, "_ROWS", 5 * LONG.itemsize)
    rng = random.Random(chunk + begin)
    bpf.begin(begin)
    reader = RingReader(bpf.fd, bpf.size, lambda: FIXED if kind == "fixed" else LONG)
    expected: dict[int, bytes] = {}
    actual: list = []
    open_records: list[tuple[int, int, bytes]] = []
    for serial in range(1000):
        text = None if kind == "fixed" else rng.randbytes(rng.randint(0, 499)).replace(b"\0", b"x")
        data = event(serial, text)
        offset = bpf.reserve(len(data))
        while offset is None:  # full: as many as are complete are read
            while open_records:
                finish(bpf, open_records.pop(0), rng.random() < discards, expected)
            actual += read_all(reader)
            offset = bpf.reserve(len(data))
        open_records.append((offset, serial, data))
        rng.shuffle(open_records)
        while open_records and rng.random() < 0.6:
            finish(bpf, open_records.pop(), rng.random() < discards, expected)
        if rng.random() < 0.1:
            actual += read_all(reader)
    for record in open_records:
        finish(bpf, record, False, expected)
    actual += read_all(reader)
    reader.close()
    assert serials(actual) == sorted(expected)
    if kind == "long":
        texts = [text for batch in actual for text in batch["text"].tolist()]
        assert texts == [expected[serial][12:-1] for serial in sorted(expected)]


@pytest.mark.parametrize("kind", [FIXED, LONG], ids=["fixed", "long"])
def test_dropped_records_are_counted_and_discarded_ones_are_not(bpf, kind):
    reader = RingReader(bpf.fd, bpf.size, lambda: kind)
    expected: dict[int, bytes] = {}
    text = b"x" * 10 if kind is LONG else None
    counts = []
    for count in (0, 23, 101):
        for serial in range(count):
            data = event(serial, text)
            finish(bpf, (bpf.reserve(len(data)), serial, data), serial % 5 == 0, expected)
        counts.append(reader.discard())
    assert counts == [0, 23 - 5, 101 - 21]
    assert reader.read() is None
    offset = bpf.reserve(12 if text is None else 12 + len(text) + 1)
    assert reader.discard() == 0  # it is being written, and stays
    bpf.commit(offset, event(7, text))
    assert serials([reader.read()]) == [7]
    reader.close()


def finish(bpf, record, discard, wanted):
    offset, serial, data = record
    if discard:
        bpf.discard(offset, len(data))
    else:
        wanted[serial] = data
        bpf.commit(offset, data)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_batch_is_no_view_of_the_ring(bpf, count):
    """One row of many bytes is contiguous, so NumPy's conversion to a contiguous array returns a view."""
    reader = RingReader(bpf.fd, bpf.size, lambda: FIXED)
    for serial in range(count):
        bpf.commit(bpf.reserve(12), event(serial))
    batch = reader.read()
    for serial in range(1000):
        offset = bpf.reserve(12)
        if offset is None:
            reader.read()
            offset = bpf.reserve(12)
        bpf.commit(offset, event(serial + 7000))
    assert batch["serial"].tolist() == list(range(count))
    reader.close()
    assert batch["ns"].tolist() == list(range(count))


def test_a_record_being_written_holds_up_those_behind_it_and_no_others(bpf):
    reader = RingReader(bpf.fd, bpf.size, lambda: FIXED)
    first, second, third = (bpf.reserve(12) for _ in range(3))
    bpf.commit(third, event(3))
    assert reader.read() is None
    bpf.commit(first, event(1))
    assert serials(read_all(reader)) == [1]
    bpf.discard(second, 12)
    assert serials(read_all(reader)) == [3]
    assert reader.read() is None
    reader.close()


def test_few_records_are_read_as_bytes(bpf):
    bpf.begin(bpf.size - 24)  # the second wraps around
    reader = RingReader(bpf.fd, bpf.size, lambda: LONG)
    assert reader.read_few() == []
    texts = [b"abc", b"d" * 100, b"", b"ef"]
    places = [bpf.reserve(len(event(serial, text))) for serial, text in enumerate(texts)]
    for serial in (0, 1, 3):
        bpf.commit(places[serial], event(serial, texts[serial]))
    assert reader.read_few() == [event(0, b"abc"), event(1, b"d" * 100)]  # the third is being written
    bpf.discard(places[2], len(event(2, b"")))
    assert reader.read_few() == [event(3, b"ef")]
    assert (reader.read_few(), reader.unread_bytes) == ([], 0)
    reader.close()


def test_many_records_are_not_read_as_bytes(monkeypatch, bpf):
    monkeypatch.setattr(ringbuf, "_FEW", 100)
    reader = RingReader(bpf.fd, bpf.size, lambda: FIXED)
    for serial in range(10):
        bpf.commit(bpf.reserve(12), event(serial))
    assert reader.read_few() is None
    assert serials(read_all(reader)) == [*range(10)]
    bpf.commit(bpf.reserve(12), event(11))
    assert reader.read_few() == [event(11)]
    reader.close()


def test_records_that_arrive_during_a_read_are_left_for_the_next(monkeypatch, bpf):
    """A flood of discarded records must not occupy the reader forever."""
    reader = RingReader(bpf.fd, bpf.size, lambda: FIXED)
    look = reader._records
    read_count = 0

    def meanwhile(data):
        nonlocal read_count
        read_count += 1
        assert read_count < 3
        actual = look(data)
        bpf.discard(bpf.reserve(12), 12)
        return actual

    bpf.discard(bpf.reserve(12), 12)
    monkeypatch.setattr(reader, "_records", meanwhile)
    assert reader.read() is None
    reader.close()


def test_records_in_the_order_of_their_time(bpf):
    reader = RingReader(bpf.fd, bpf.size, lambda: FIXED)
    for serial in (2, 1, 3):
        bpf.commit(bpf.reserve(12), event(serial))
    assert serials(read_all(reader)) == [1, 2, 3]
    reader.close()


def events_with_one_long() -> list[bytes]:
    return [event(serial, b"x" * 400 if serial == 7 else b"") for serial in range(20)]


def test_short_records_beside_a_long_one_do_not_fill_the_memory(monkeypatch, bpf):
    monkeypatch.setattr(records, "_ROWS", 3 * 413)
    reader = RingReader(bpf.fd, bpf.size, lambda: LONG)
    for data in events_with_one_long():
        bpf.commit(bpf.reserve(len(data)), data)
    actual = read_all(reader)
    assert [(len(batch), batch.dtype.itemsize) for batch in actual] == [(7, 16), (3, 416), (10, 16)]
    assert serials(actual) == list(range(20))
    reader.close()


def test_perf_short_records_beside_a_long_one_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(records, "_ROWS", 3 * 424)
    machine = Machine(monkeypatch, [0, 1])
    reader = machine.reader(LONG)
    for serial, data in enumerate(events_with_one_long()):
        assert machine.rings[serial % 2].sample(data)
    actual = read_all(reader, last=True)
    assert [(len(batch), batch.dtype.itemsize) for batch in actual] == [(7, 24), (3, 424), (10, 24)]
    assert serials(actual) == list(range(20))
    reader.close()


def test_a_closed_ring_leaves_no_descriptors_or_mappings(bpf):
    before = descriptors()
    for _ in range(3):
        reader = RingReader(bpf.fd, bpf.size, lambda: FIXED)
        bpf.commit(bpf.reserve(12), event(1))
        stored = reader.read()
        reader.close()
    assert stored is not None
    assert descriptors() == before
    with pytest.raises(ValueError, match="greater than file size"):
        RingReader(bpf.fd, 1 << 40, lambda: FIXED)
    assert descriptors() == before


class Machine:
    """CPUs with perf rings, and a clock."""

    def __init__(self, monkeypatch, cpus: list[int]) -> None:
        self.cpus = cpus
        self.now = 10_000_000_000
        self.rings: dict[int, PerfRing] = {}
        self.map: dict[int, int] = {}
        self.refuses: dict[int, int] = {}
        monkeypatch.setattr(perf_ring, "perf_event_open", self._open)
        monkeypatch.setattr(perf_buffer, "online_cpus", lambda: self.cpus)
        monkeypatch.setattr(perf_buffer.fcntl, "ioctl", lambda *_: 0)
        monkeypatch.setattr(perf_buffer.ktime, "monotonic_ns", lambda: self.now)

    def _open(self, attr: bytes, pid: int, cpu: int) -> int:
        if cpu in self.refuses:
            raise OSError(self.refuses[cpu], "no")
        self.rings[cpu] = PerfRing()
        self.attr = attr
        return os.dup(self.rings[cpu].fd)

    def update(self, key: bytes, value: bytes) -> None:
        self.map[struct.unpack("i", key)[0]] = struct.unpack("i", value)[0]

    def reader(self, record=FIXED) -> PerfReader:
        return PerfReader(self, record, PAGE * len(self.cpus))

    def put(self, cpu: int, ns: int, serial: int) -> bool:
        return self.rings[cpu].sample(struct.pack("QI", ns, serial))


def test_perf_events_are_what_the_kernel_s_header_names(monkeypatch, tmp_path):
    machine = Machine(monkeypatch, [0])
    machine.reader()
    assert machine.attr == perf_attr(
        tmp_path,
        f".type = PERF_TYPE_SOFTWARE, .size = {ATTR_SIZE}, .config = PERF_COUNT_SW_BPF_OUTPUT,"
        ".sample_period = 1, .sample_type = PERF_SAMPLE_RAW, .watermark = 1,"
        f".wakeup_watermark = {PAGE // 4}",
    )


def test_perf_rings_are_merged_by_time_whatever_was_read_when(monkeypatch):
    monkeypatch.setattr(perf_buffer, "CHUNK", 3 * 20 * 24)
    monkeypatch.setattr(perf_buffer, "_LEAST", 100)  # four records, and a part of the next
    monkeypatch.setattr(records, "_ROWS", 30 * FIXED.itemsize)
    machine = Machine(monkeypatch, [0, 1, 5])
    reader = machine.reader()
    for ring_, begin in zip(machine.rings.values(), (0, 2**32 - 64, 2**48 + 8), strict=True):
        ring_.begin(begin)
    rng = random.Random(1)
    actual, count = [], 0
    for _ in range(2000):
        machine.now += rng.randint(1, 200_000)
        count += machine.put(rng.choice([0, 0, 0, 1, 5]), machine.now, count)
        if rng.random() < 0.02:
            actual += read_all(reader)
    actual += read_all(reader, last=True)
    reader.close()
    assert count > 1500
    assert serials(actual) == list(range(count))
    assert max(map(len, actual)) <= 30


def test_perf_what_is_young_is_held_until_nothing_older_can_come(monkeypatch):
    machine = Machine(monkeypatch, [0, 1])
    reader = machine.reader()
    machine.put(0, machine.now - 1000, 2)
    assert reader.read() is None
    machine.put(1, machine.now - 2000, 1)
    assert reader.read() is None
    machine.now += 10_000_000
    machine.put(1, machine.now, 3)
    assert serials(read_all(reader)) == [1, 2]
    assert serials(read_all(reader, last=True)) == [3]
    reader.close()


def test_perf_strings_and_what_the_kernel_says_it_lost(monkeypatch):
    machine = Machine(monkeypatch, [0])
    reader = machine.reader(LONG)
    texts = [b"x" * length for length in (0, 1, 2, 3, 8, 499)]
    for serial, text in enumerate(texts):
        assert machine.rings[0].sample(event(serial, text))
    assert machine.rings[0].lost(23)
    assert machine.rings[0].lost(1 << 40)
    [batch] = read_all(reader, last=True)
    assert [text.partition(b"\0")[0] for text in batch["text"].tolist()] == texts
    assert reader.lost == 23 + (1 << 40)
    reader.close()


def test_perf_reports_of_losses_take_no_space(monkeypatch):
    monkeypatch.setattr(perf_buffer, "CHUNK", 100)
    monkeypatch.setattr(perf_buffer, "_LEAST", 100)
    machine = Machine(monkeypatch, [0])
    reader = machine.reader()
    for _ in range(50):
        assert machine.rings[0].lost(2)
    machine.put(0, machine.now, 1)
    assert reader.read() is None
    assert serials(read_all(reader, last=True)) == [1]
    assert reader.lost == 100
    reader.close()


def test_perf_cpus_come_and_go(monkeypatch):
    machine = Machine(monkeypatch, [0, 1])
    machine.refuses[1] = 19  # ENODEV: gone since the list was read
    reader = machine.reader()
    assert list(machine.map) == [0]
    machine.refuses.clear()
    machine.now += 2_000_000_000
    reader.read()
    assert sorted(machine.map) == [0, 1]
    machine.put(1, machine.now, 1)
    first = machine.rings[1]
    machine.cpus = [0]  # it goes with a record unread
    machine.now += 2_000_000_000
    assert serials(read_all(reader)) == [1]
    machine.cpus = [0, 1]
    machine.now += 2_000_000_000
    reader.read()
    assert machine.rings[1] is not first
    machine.put(1, machine.now, 2)
    assert serials(read_all(reader, last=True)) == [2]
    open_now = descriptors()
    reader.close()
    # Of each of the two rings that are left, the descriptor and the mapping's.
    assert descriptors() == open_now - 4


def test_perf_nothing_stays_open_where_a_cpu_refuses(monkeypatch):
    machine = Machine(monkeypatch, [0, 1])
    machine.refuses[1] = 13
    before = descriptors()
    with pytest.raises(OSError, match="no"):
        machine.reader()
    os.close(machine.rings[0].fd)
    machine.rings[0]._map.close()
    assert descriptors() == before


@pytest.mark.parametrize(("record", "size"), [(FIXED, 24), (LONG, 24), (np.dtype([("ns", "u8")]), 16)])
def test_the_shortest_record_has_an_empty_string(record, size):
    assert ringbuf.shortest_record(record) == size
