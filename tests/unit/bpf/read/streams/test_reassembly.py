"""Test records of a ring that differ in length, and events in several parts."""

from __future__ import annotations

import numpy as np
import pytest

from pytracer.bpf.read.streams import reassembly, records
from pytracer.bpf.read.streams.reassembly import ReassemblingReader, is_fragmented
from pytracer.bpf.read.streams.records import (
    compact,
    count_fitting,
    gather,
    record_offsets,
    resize_dtype,
    string_member,
)

PATH = np.dtype([("ns", "u8"), ("pid", "u4"), ("path", "S4096")], align=True)
PLAIN = np.dtype([("ns", "u8"), ("pid", "u4")], align=True)
ROOM = 64
ARGS = np.dtype([("ns", "u8"), ("args_len", "u4"), ("args_at", "u4"), ("args", "u1", (ROOM,))], align=True)


def lay_out(contents: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay records out as in a ring. Returns bytes, offsets, lengths."""
    padded = [content.ljust(-(-len(content) // 8) * 8, b"\xee") for content in contents]
    sizes = np.array([len(content) for content in padded])
    lengths = np.array([len(content) for content in contents])
    return np.frombuffer(b"".join(padded), dtype="u1"), np.cumsum(sizes) - sizes, lengths


def path_record(ns: int, path: bytes) -> bytes:
    return np.array([(ns, 7, b"")], dtype=PATH).tobytes()[:12] + path + b"\0"


def test_strings_have_as_much_room_as_the_longest_needs():
    paths = [b"a", b"b" * 300, b"", b"c" * 17]
    actual = gather(*lay_out([path_record(n, path) for n, path in enumerate(paths)]), PATH)
    assert actual["path"].tolist() == paths
    assert actual["ns"].tolist() == [0, 1, 2, 3]
    assert actual["pid"].tolist() == [7] * 4
    assert 12 + 301 <= actual.dtype.itemsize < 12 + 301 + 8


def test_a_string_never_has_more_room_than_the_type():
    [gathered] = gather(*lay_out([path_record(1, b"a" * 4095) + b"\xee" * 20]), PATH)
    assert gathered["path"] == b"a" * 4095
    assert gathered.dtype.itemsize == PATH.itemsize


def test_records_without_a_string_keep_their_type():
    content = np.array([(5, 6)], dtype=PLAIN).tobytes()
    actual = gather(*lay_out([content, content]), PLAIN)
    assert actual.dtype == PLAIN
    assert actual.tolist() == [(5, 6)] * 2
    assert string_member(PLAIN) is None
    assert resize_dtype(PLAIN, 100) is PLAIN


def test_reassembly_without_records():
    none = np.zeros(0, dtype=np.intp)
    assert len(gather(np.zeros(0, "u1"), none, none, PATH)) == 0
    assert count_fitting(none) == 0


def test_no_more_at_once_than_there_is_memory_for():
    limit = records._ROWS
    assert count_fitting(np.full(10, 100)) == 10
    assert count_fitting(np.array([limit * 2, 1])) == 1  # one in any case
    assert count_fitting(np.array([1, 1, limit // 2, 1])) == 2
    lengths = np.random.default_rng(1).integers(1, 5000, 100_000)
    count = count_fitting(lengths)
    assert count * lengths[:count].max() <= limit < (count + 1) * lengths[: count + 1].max()


def test_compacted_records_are_the_same():
    contents = [path_record(n, b"x" * n) for n in range(50)]
    data, offsets, lengths = lay_out(contents)
    chosen = np.array([40, 3, 17, 0, 49])
    less, places = compact(data, offsets[chosen], lengths[chosen])
    assert len(less) <= lengths[chosen].sum() + 4 * len(chosen)
    assert [
        less[offset : offset + size].tobytes() for offset, size in zip(places, lengths[chosen], strict=True)
    ] == [contents[number] for number in chosen]
    nothing = np.zeros(0, dtype=np.intp)
    assert [len(part) for part in compact(data, nothing, nothing)] == [0, 0]


def test_a_chain_over_many_blocks_ends_where_nothing_can_be_read():
    step = np.random.default_rng(2).integers(1, 40, 20_000)
    places = [0]
    while places[-1] + step[places[-1]] < 15_000:
        places.append(int(places[-1] + step[places[-1]]))
    step[places[-1]] = 0
    actual, end = record_offsets(step)
    assert (actual.tolist(), end) == (places[:-1], places[-1])


class BatchSource:
    """A reader of given records."""

    fileno, poll_interval, lost, truncated = 7, 0.5, 3, 0

    def __init__(self, *batches: np.ndarray | None) -> None:
        self.batches = list(batches)
        self.closed = False

    def read(self, *, last: bool = False) -> np.ndarray | None:
        return self.batches.pop(0) if self.batches else None

    def close(self) -> None:
        self.closed = True


def event(ns: int, content: bytes) -> list[np.ndarray]:
    """Return the records that the C makes of an event."""
    parts = []
    for offset in range(0, max(len(content), 1), ROOM):
        record = np.zeros(1, dtype=ARGS)
        record["ns"], record["args_len"], record["args_at"] = ns, len(content), offset
        part = np.frombuffer(content[offset : offset + ROOM], dtype="u1")
        record["args"][0, : len(part)] = part
        parts.append(record)
    return parts


def read_all(reader: ReassemblingReader, *, last: bool = True) -> list[tuple[int, bytes]]:
    actual = []
    while (batch := reader.read(last=last)) is not None:
        for record in batch:
            assert record["args_at"] == 0
            actual.append((int(record["ns"]), record["args"][: record["args_len"]].tobytes()))
    return actual


LONG = bytes(range(256)) + b"\0\0"


def test_events_of_one_read_stay_until_requested():
    reader = ReassemblingReader(
        BatchSource(np.concatenate([*event(1, b"a"), *event(2, LONG), *event(3, b"b")])), ARGS
    )
    read_count = []
    while (batch := reader.read(last=True)) is not None:
        read_count.append((batch["ns"].tolist(), reader.has_pending))
    assert read_count == [([1], True), ([2], True), ([3], False)]


def test_types_of_split_events():
    assert is_fragmented(ARGS)
    assert not is_fragmented(PATH)
    assert not is_fragmented(PLAIN)


def test_parts_are_put_together_whatever_lies_between_them():
    first, second = event(1, LONG), event(2, LONG[::-1])
    mixed = [
        first[0],
        second[0],
        event(3, b"ab")[0],
        first[1],
        second[1],
        second[2],
        first[2],
        first[3],
        event(4, b"")[0],
    ]
    mixed += [second[3], first[4], second[4]]
    expected = [(3, b"ab"), (4, b""), (1, LONG), (2, LONG[::-1])]
    for cut in range(len(mixed) + 1):  # wherever one read ends and the next begins
        batches = [np.concatenate(part) for part in (mixed[:cut], mixed[cut:]) if part]
        assert read_all(ReassemblingReader(BatchSource(*batches), ARGS)) == expected


def test_complete_events_are_passed_on_unchanged():
    batch = np.concatenate([event(n, b"x" * n)[0] for n in range(ROOM + 1)])
    reader = ReassemblingReader(BatchSource(batch), ARGS)
    assert np.shares_memory(reader.read(), batch)
    assert not reader.has_pending
    narrow = batch[:3].astype(resize_dtype(ARGS, 24))
    assert read_all(ReassemblingReader(BatchSource(narrow), ARGS)) == [(n, b"x" * n) for n in range(3)]


def test_incomplete_events_are_returned_truncated(monkeypatch):
    def reader(*batches):
        return ReassemblingReader(BatchSource(*batches), ARGS)

    start = np.concatenate(event(1, LONG)[:3])
    assert read_all(reader(start)) == [(1, LONG[: 3 * ROOM])]
    patient = reader(start)
    assert read_all(patient, last=False) == []
    monkeypatch.setattr(reassembly, "_PATIENCE", -1.0)
    assert read_all(patient, last=False) == [(1, LONG[: 3 * ROOM])]
    assert patient.truncated == 0  # the C has counted it
    late = reader(start, None, np.concatenate(event(1, LONG)[3:]))
    assert read_all(late, last=False) == [(1, LONG[: 3 * ROOM])]
    assert read_all(late, last=False) == []
    assert late.truncated == 1  # it was complete, but too late


def test_other_records_are_passed_on():
    values = BatchSource()
    reader = ReassemblingReader(values, ARGS)
    assert (reader.fileno, reader.poll_interval, reader.lost, reader.truncated) == (7, 0.5, 3, 0)
    reader.close()
    assert values.closed


@pytest.mark.parametrize("size", [16, 17, 24, 80, 1000])
def test_types_can_be_resized(size):
    created = resize_dtype(ARGS, max(size, 17))
    assert created.itemsize == max(size, 17)
    assert created.fields["args"][1] == 16
    assert created["args"].shape == (max(size, 17) - 16,)
