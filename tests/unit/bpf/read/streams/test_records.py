"""Test finding records in a ring and laying them out, against a plain loop."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pytracer.bpf.read.streams import records
from pytracer.bpf.read.streams.records import gather, record_offsets, sort_by_time
from pytracer.enrich.decode import decode


def walk(step: list[int]) -> tuple[list[int], int]:
    places, offset = [], 0
    while offset < len(step) and step[offset]:
        places.append(offset)
        offset += step[offset]
    return places, offset


@pytest.mark.parametrize("longest", [1, 2, 9, 100, 5000, 20_000])
@pytest.mark.parametrize("seed", range(4))
def test_chain_goes_where_a_walk_goes(seed, longest):
    rng = random.Random(seed)
    words = rng.choice([1, 4095, 4096, 4097, 8192, 40_000])
    step = [rng.randint(1, longest) for _ in range(words)]
    if seed % 2:
        for _ in range(words // 1000 + 1):
            step[rng.randrange(words)] = 0
    places, end = record_offsets(np.array(step, dtype=np.intp))
    assert (places.tolist(), end) == walk(step)


@pytest.mark.parametrize("step", [[], [0], [1], [0, 1], [1, 0], [7], [1] * 4096 + [0], [4096] + [0] * 4096])
def test_chain_at_its_ends(step):
    places, end = record_offsets(np.array(step, dtype=np.intp))
    assert (places.tolist(), end) == walk(step)


def test_chain_ends_on_the_border_of_a_block():
    for last in (4095, 4096, 4097):
        step = np.ones(8192, dtype=np.intp)
        step[last] = 0
        places, end = record_offsets(step)
        assert end == last
        assert len(places) == last


def cut_out(data: bytes, offsets: list[int], lengths: list[int], dtype: np.dtype) -> list[bytes]:
    size = dtype.itemsize
    return [
        data[offset : offset + length][:size].ljust(size, b"\0")
        for offset, length in zip(offsets, lengths, strict=True)
    ]


@pytest.mark.parametrize("size", [1, 7, 8, 12, 13, 40, 300])
@pytest.mark.parametrize("gathered", [1, 64, 1 << 18])
def test_gather_pads_what_is_short_and_cuts_what_is_long(monkeypatch, size, gathered):
    monkeypatch.setattr(records, "_GATHERED", gathered)
    rng = random.Random(size)
    data = rng.randbytes(4096)
    offsets = sorted(rng.randrange(0, 4096, 4) for _ in range(100))
    lengths = [rng.randint(0, min(2 * size, 4096 - offset)) for offset in offsets]
    offsets.append(4096 - 4)  # at the very end
    lengths.append(min(size, 4))
    dtype = np.dtype([("all", f"V{size}")])
    rows = gather(np.frombuffer(data, np.uint8), np.array(offsets), np.array(lengths), dtype)
    assert [row.tobytes() for row in rows] == cut_out(data, offsets, lengths, dtype)


def test_gather_of_nothing():
    dtype = np.dtype([("ns", "u8")])
    nothing = np.zeros(0, dtype=np.intp)
    assert len(gather(np.zeros(64, np.uint8), nothing, nothing, dtype)) == 0
    empty = gather(np.full(64, 7, np.uint8), np.array([8]), np.array([0]), dtype)
    assert empty["ns"].tolist() == [0]


def test_in_order_sorts_by_time_and_is_stable():
    rows = np.array([(3, 1), (1, 2), (3, 3), (2, 4)], dtype=[("ns", "u8"), ("n", "u4")])
    assert sort_by_time(rows)["n"].tolist() == [2, 4, 1, 3]
    assert sort_by_time(rows[:0]) is not None
    late = np.array([(2**64 - 1, 1), (2**63, 2)], dtype=rows.dtype)
    assert sort_by_time(late)["n"].tolist() == [2, 1]


@pytest.mark.parametrize("width", [1, 2, 16, 100])
def test_cut_drops_what_lies_behind_the_end(width):
    rng = random.Random(width)
    raw = [bytes(rng.choice([0, 65, 66, 255]) for _ in range(width)) for _ in range(200)]
    raw += [b"\0" * width, b"\xff" * width]
    values = np.frombuffer(b"".join(raw), dtype=f"S{width}")
    decoded = decode(bytes.hex, values, ends_at_nul=True)
    assert decoded.tolist() == [value.partition(b"\0")[0].hex() for value in raw]
    assert len(set(decoded.names)) == len(decoded.names)
    assert len(decode(bytes.hex, values[:0], ends_at_nul=True)) == 0
    assert decode(bytes.hex, values, b"", ends_at_nul=True).tolist()[200] is None


def test_names_are_requested_once_and_two_values_may_share_one():
    requests = []

    def name(value):
        requests.append(value)
        return "even" if value % 2 == 0 else f"odd {value}"

    column = decode(name, np.array([4, 1, 2, 4, 1, 3, 2]))
    assert column.tolist() == ["even", "odd 1", "even", "even", "odd 1", "odd 3", "even"]
    assert sorted(requests) == [1, 2, 3, 4]
    assert len(set(column.names)) == len(column.names) == 3
