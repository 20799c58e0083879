"""Test reducing map contents against a dictionary that does the same one value at a time."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pytracer.model import Schema, Snapshot, ledger
from pytracer.model.ledger import Ledger, Total
from pytracer.model.reduce import Rows, concatenate, merge, rows_of_dense, subtract, sum_cpus
from pytracer.spec import Column, Table, Unit

CALLS = Column("calls", "", unit=Unit.COUNT)
TOTAL = Column("total_ns", "", field="time", unit=Unit.NANOSECONDS)
AVERAGE = Column("avg_ns", "", unit=Unit.NANOSECONDS, ratio=("total_ns", "calls"))
COMM = Column("comm", "", last=True)
KEY = Column("id", "", field="id")
TABLE = Table("rows", (CALLS, TOTAL, AVERAGE), sort="calls")
PLAIN = Schema("fake", (KEY,), (CALLS, TOTAL, AVERAGE), TABLE)
NAMED = Schema("fake", (KEY,), (COMM, CALLS, TOTAL, AVERAGE), TABLE)

KEYS = np.dtype([("id", "S8"), ("pid", "u4")], align=True)
VALUES = np.dtype([("calls", "u8"), ("time", "u8"), ("seen", "u8"), ("comm", "S16")])
COUNTERS = ("calls", "time")


def array_of(raw: list[bytes]) -> np.ndarray:
    """Return keys as the kernel has them: their bytes, one after the other."""
    return np.frombuffer(b"".join(raw), dtype=KEYS)


def random_key(rng: random.Random) -> bytes:
    """Return a key of few distinct bytes, so that keys share prefixes and differ in NULs, embedded and
    trailing."""
    return bytes(rng.choice((0, 0, 1, 0x80, 0xFF)) for _ in range(KEYS.itemsize))


def reading(rng: random.Random, grow_from: dict[bytes, list[int]]) -> dict[bytes, list[int]]:
    """Return a later reading: some rows grow, some do not, some go, some come."""
    now = {
        key: [value + rng.choice((0, 0, 1, 2**40)) for value in values]
        for key, values in grow_from.items()
        if rng.random() < 0.8
    }
    for _ in range(rng.randrange(20)):
        now.setdefault(random_key(rng), [rng.randrange(2**63) for _ in COUNTERS])
    return now


def rows_of(table: dict[bytes, list[int]], rng: random.Random) -> Rows:
    raw = list(table)
    rng.shuffle(raw)  # a hash map has no order
    values = np.zeros(len(raw), dtype=VALUES)
    for number, key in enumerate(raw):
        for name, value in zip(COUNTERS, table[key], strict=True):
            values[name][number] = value
    return Rows(array_of(raw), values)


def table_of(rows: Rows) -> dict[bytes, list[int]]:
    raw = rows.keys.tobytes()
    keys = [raw[offset : offset + KEYS.itemsize] for offset in range(0, len(raw), KEYS.itemsize)]
    values = [[int(row[name]) for name in COUNTERS] for row in rows.values]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, values, strict=True))


def naive_since(now: dict[bytes, list[int]], before: dict[bytes, list[int]]) -> dict[bytes, list[int]]:
    grown = {
        key: [new - old for new, old in zip(values, before.get(key, [0, 0]), strict=True)]
        for key, values in now.items()
    }
    return {key: values for key, values in grown.items() if any(values)}


@pytest.mark.parametrize("seed", range(60))
def test_since_against_a_dictionary(seed):
    rng = random.Random(seed)
    before = reading(rng, {})
    now = reading(rng, before)
    assert table_of(subtract(rows_of(now, rng), rows_of(before, rng), PLAIN)) == naive_since(now, before)


@pytest.mark.parametrize(
    ("before", "now", "difference"),
    [
        pytest.param({}, {b"a": 3}, {b"a": 3}, id="appeared"),
        pytest.param({b"a": 3}, {}, {}, id="gone"),
        pytest.param({b"a": 3}, {b"a": 3}, {}, id="no-growth"),
        pytest.param({b"a": 3}, {b"a": 5}, {b"a": 2}, id="grew"),
        pytest.param({}, {b"a": 0}, {}, id="never-counted"),
        pytest.param({b"a": 1}, {b"a\0b": 2, b"a": 4}, {b"a\0b": 2, b"a": 3}, id="embedded-nul"),
        pytest.param({b"\0a": 1}, {b"a": 2, b"\0a": 1}, {b"a": 2}, id="leading-nul"),
        pytest.param({b"\xff": 1, b"\x01": 1}, {b"\xff": 9}, {b"\xff": 8}, id="high-byte"),
        pytest.param({b"": 1}, {b"": 3, b"\0\0\0\0\0\1": 1}, {b"": 2, b"\0\0\0\0\0\1": 1}, id="all-nul"),
    ],
)
def test_since(before, now, difference):
    rng = random.Random(0)
    wide = [
        {key.ljust(KEYS.itemsize, b"\0"): [n, 0] for key, n in t.items()} for t in (before, now, difference)
    ]
    assert table_of(subtract(rows_of(wide[1], rng), rows_of(wide[0], rng), PLAIN)) == wide[2]


def test_since_keeps_both_readings_as_they_were():
    rng = random.Random(1)
    before, now = rows_of({b"k" * 12: [1, 2]}, rng), rows_of({b"k" * 12: [5, 6]}, rng)
    subtract(now, before, PLAIN)
    assert list(table_of(now).values()) == [[5, 6]]
    assert list(table_of(before).values()) == [[1, 2]]


def test_since_keeps_the_newest_name():
    rng = random.Random(2)
    before, now = rows_of({b"k" * 12: [1, 0]}, rng), rows_of({b"k" * 12: [2, 0]}, rng)
    before.values["comm"], now.values["comm"] = b"bash", b"ls"
    assert subtract(now, before, NAMED).values["comm"].tolist() == [b"ls"]


@pytest.mark.parametrize("cpus", [1, 2, 7])
@pytest.mark.parametrize("seed", range(10))
def test_sum_cpus_against_a_loop(seed, cpus):
    rng = random.Random(seed)
    count = rng.randrange(1, 30)
    values = np.zeros((count, cpus), dtype=VALUES)
    for cell in np.nditer(values, op_flags=[["writeonly"]], flags=["external_loop"], order="C"):
        for number in range(len(cell)):
            cell[number] = (
                rng.randrange(2**60),
                rng.randrange(2**60),
                rng.choice((0, rng.randrange(1, 2**63))),
                rng.choice((b"ls", b"bash", b"\xff\x00x", b"")),
            )
    keys = array_of([number.to_bytes(KEYS.itemsize, "big") for number in range(count)])
    actual = sum_cpus(keys, values, NAMED)
    assert actual.keys.tobytes() == keys.tobytes()
    for number in range(count):
        copies = values[number].tolist()
        calls, time, _seen, comm = actual.values[number].tolist()
        assert calls == sum(copy[0] for copy in copies)
        assert time == sum(copy[1] for copy in copies)
        assert comm == max(copies, key=lambda copy: copy[2])[3]


def test_sum_cpus_is_exact_beyond_the_range_of_floats():
    values = np.zeros((1, 2), dtype=VALUES)
    values["calls"] = [[2**63, 2**62 + 1]]
    assert int(sum_cpus(array_of([b"k" * 12]), values, PLAIN).values["calls"][0]) == 2**63 + 2**62 + 1


def test_sum_cpus_passes_values_of_one_copy_on():
    values = np.array([(1, 2, 3, b"ls")], dtype=VALUES)
    actual = sum_cpus(array_of([b"k" * 12]), values, NAMED)
    assert actual.values.tolist() == [(1, 2, 3, b"ls")]


def test_an_empty_map():
    keys = array_of([])
    total = sum_cpus(keys, np.zeros((0, 4), dtype=VALUES), NAMED)
    assert len(total) == 0
    assert len(subtract(total, total, NAMED)) == 0


def test_columns_follow_the_keys_then_the_latest_then_the_counters():
    schema = Schema("fake", (KEY,), (CALLS, COMM, TOTAL, AVERAGE), TABLE)
    assert [column.name for column in schema.columns] == ["id", "comm", "calls", "total_ns", "avg_ns"]
    assert [column.name for column in schema.counters] == ["calls", "total_ns"]


def test_rows_are_plain_python_values():
    item = Snapshot("row", 0.0, 1.0, {"calls": np.array([2**63], dtype="u8"), "comm": ["ls"]})
    assert list(item.value_rows()) == [{"calls": 2**63, "comm": "ls"}]
    assert type(next(item.value_rows())["calls"]) is int
    assert len(item) == 1


def test_columns_of_different_length_are_no_table():
    with pytest.raises(ValueError, match="zip"):
        list(Snapshot("row", 0.0, 1.0, {"a": [1, 2], "b": [1]}).value_rows())


def random_readings(rng: random.Random, readings: int) -> list[list[tuple[bytes, int, int, int, bytes]]]:
    """Return readings: rows of (key, calls, time, seen, comm), each with distinct keys, few keys in all."""
    keys = [random_key(rng) for _ in range(12)]
    return [
        [
            (
                key,
                rng.randrange(2**60),
                rng.randrange(2**60),
                rng.randrange(2**63),
                bytes([97 + n % 26]),
            )
            for key in dict.fromkeys(rng.choices(keys, k=rng.randrange(9)))
        ]
        for n in range(readings)
    ]


def rows_as_read(reading: list[tuple[bytes, int, int, int, bytes]]) -> Rows:
    values = np.zeros(len(reading), dtype=VALUES)
    for number, (_, *value) in enumerate(reading):
        values[number] = tuple(value)
    return Rows(array_of([key for key, *_ in reading]), values)


def added(readings: list[list[tuple[bytes, int, int, int, bytes]]]) -> dict[bytes, tuple[int, int, bytes]]:
    """Return the totals, computed with a dictionary."""
    total: dict[bytes, tuple[int, int, int, bytes]] = {}
    for key, calls, time, last_seen, comm in (row for reading in readings for row in reading):
        before = total.get(key, (0, 0, -1, b""))
        newest = (last_seen, comm) if last_seen > before[2] else before[2:]
        total[key] = (before[0] + calls, before[1] + time, *newest)
    return {key: (calls, time, comm) for key, (calls, time, _, comm) in total.items()}


def totals_by_key(rows: Rows) -> dict[bytes, tuple[int, int, bytes]]:
    raw = rows.keys.tobytes()
    keys = [raw[offset : offset + KEYS.itemsize] for offset in range(0, len(raw), KEYS.itemsize)]
    assert len(set(keys)) == len(keys)
    return {key: (v[0], v[1], v[3]) for key, v in zip(keys, rows.values.tolist(), strict=True)}


@pytest.mark.parametrize("seed", range(40))
def test_readings_add_up(seed):
    rng = random.Random(seed)
    readings = random_readings(rng, rng.randrange(1, 20))
    total = Total(NAMED)
    assert total.rows is None
    for number, reading in enumerate(readings, 1):
        total.add(rows_as_read(reading))
        if rng.random() < 0.2:
            assert total.rows is not None
            assert totals_by_key(total.rows) == added(readings[:number])
    assert total.rows is not None
    assert totals_by_key(total.rows) == added(readings)
    assert totals_by_key(merge([rows_as_read(reading) for reading in readings], NAMED)) == added(readings)


def test_padding_of_keys_stays_as_the_kernel_gave_it():
    """NumPy's copies of structs leave padding undefined, and one key would become two."""
    padded = np.dtype([("pid", "u4"), ("call", "u8")], align=True)
    keys = np.zeros(3, padded)
    keys["pid"], keys["call"] = [1, 2, 1], [5, 5, 6]
    values = np.zeros(3, VALUES)
    values["calls"] = [1, 2, 4]
    parts = [Rows(keys, values), Rows(keys[:2], values[:2])] * 50
    for rows in (
        merge(parts, PLAIN),
        merge([concatenate(Rows(keys[:1], values[:1]), Rows(keys[1:], values[1:])), *parts[1:]], PLAIN),
    ):
        assert rows.keys.dtype == padded
        assert dict(zip(rows.keys.tolist(), rows.values["calls"].tolist(), strict=True)) == {
            (1, 5): 100,
            (2, 5): 200,
            (1, 6): 200,
        }


def test_many_readings_beside_a_great_total_are_merged_seldom(monkeypatch):
    """Of n rows in small readings, each row is moved a few times, not once a reading."""
    moved = 0

    def counting(parts, schema):
        nonlocal moved
        moved += sum(map(len, parts))
        return merge(parts, schema)

    monkeypatch.setattr(ledger, "merge", counting)
    total = Total(PLAIN)
    for number in range(2000):
        keys = array_of([(number * 10 + index).to_bytes(KEYS.itemsize, "big") for index in range(10)])
        values = np.zeros(10, VALUES)
        values["calls"] = 1
        total.add(Rows(keys, values))
    assert total.rows is not None
    assert int(total.rows.values["calls"].sum()) == len(total.rows) == 20_000
    assert moved < 4 * 20_000


def test_readings_are_merged_once_they_are_more_than_the_rows():
    total = Total(PLAIN)
    parts = []
    for _ in range(6):
        total.add(Rows(array_of([b"k" * KEYS.itemsize]), np.zeros(1, VALUES)))
        parts.append(len(total._parts))
    assert parts == [1, 2, 1, 2, 1, 2]


@pytest.mark.parametrize("shows", [True, False])
@pytest.mark.parametrize("stands", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_a_ledger_of_drained_and_of_staying_rows(seed, stands, shows):
    rng = random.Random(seed)
    book = Ledger(PLAIN)
    standing: dict[bytes, list[int]] = {}
    intervals: dict[bytes, list[int]] = {}
    totals: dict[bytes, list[int]] = {}

    def count(table: dict[bytes, list[int]], key: bytes, values: list[int]) -> None:
        old = table.get(key, [0, 0])
        table[key] = [a + b for a, b in zip(old, values, strict=True)]

    def stood() -> Rows | None:
        return rows_of(standing, rng) if stands else None

    for _ in range(rng.randrange(1, 12)):
        taken_rows = {b"t" * 9 + random_key(rng)[:3]: [rng.randrange(1, 9)] * 2 for _ in range(3)}
        book.add_drained(rows_of(taken_rows, rng))
        for key, values in taken_rows.items():
            count(totals, key, values)
        if stands:
            key = b"s" * 9 + random_key(rng)[:3]
            count(standing, key, [1, 2])
            count(totals, key, [1, 2])
        if shows and rng.random() < 0.5:
            for key, values in table_of(book.interval(stood())).items():
                count(intervals, key, values)
            assert intervals == totals
    assert table_of(book.total(stood())) == totals
    assert table_of(book.total(stood())) == totals


def test_rows_of_an_array_have_its_indexes_for_keys():
    values = np.zeros(4, VALUES)
    values["calls"] = [0, 3, 0, 1]
    dense = Rows(np.arange(4, dtype="u4"), values)
    wide = np.dtype([("id", "u8")])
    rows = rows_of_dense(dense, wide, PLAIN)
    assert rows.keys.dtype == wide
    assert rows.keys["id"].tolist() == [1, 3]
    assert concatenate(None, rows) is rows
    assert concatenate(rows, None) is rows
    assert len(concatenate(rows, Rows(np.zeros(0, wide), values[:0]))) == 2


def test_indexes_of_an_array_are_split_into_two_keys():
    host, code = Column("host", "", decode="hex"), Column("code", "", decode="hex")
    table = Table("rows", (CALLS,), sort="calls", dense="dense", dense_codes=(6, 17, 0x10806))
    schema = Schema("fake", (host, code), (CALLS,), table)
    values = np.zeros(9, VALUES)
    values["calls"] = [0, 0, 5, 1, 0, 0, 0, 2, 0]
    keys = np.dtype([("host", "u4"), ("code", "u4")])
    rows = rows_of_dense(Rows(np.arange(9, dtype="u4"), values), keys, schema)
    assert rows.keys.tolist() == [(0, 0x10806), (1, 6), (2, 17)]
    assert rows.values["calls"].tolist() == [5, 1, 2]


def test_maxima_are_not_summed():
    longest = Column("max_ns", "", unit=Unit.NANOSECONDS, max=True)
    schema = Schema("fake", (KEY,), (CALLS, longest), TABLE)
    keys = np.array([(b"a",), (b"b",)], dtype=[("id", "S8")])
    values = np.array([[(1, 7), (2, 5)], [(3, 0), (4, 9)]], dtype=[("calls", "u8"), ("max_ns", "u8")])
    first = sum_cpus(keys, values, schema)
    assert first.values.tolist() == [(3, 7), (7, 9)]
    second = Rows(keys[:1], np.array([(1, 6)], dtype=first.values.dtype))
    assert merge([first, second], schema).values.tolist() == [(4, 7), (7, 9)]
    assert subtract(merge([first, second], schema), first, schema).values.tolist() == [(1, 7)]
