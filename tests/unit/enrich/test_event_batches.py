"""Test batches: columns, rows, and conversions for other libraries."""

from __future__ import annotations

import time

import numpy as np
import pandas
import pyarrow
import pytest

from pytracer.enrich import decoders, event_batches
from pytracer.enrich.event_batches import EventDecoder
from pytracer.model import Coded, Schema
from pytracer.spec import Column, Stream, Unit

SCHEMA = Schema(
    tracer="files",
    keys=(),
    values=(
        Column("pid", "process id"),
        Column("took_ns", "how long", field="took", unit=Unit.NANOSECONDS),
        Column("comm", "its name", decode="text", width=16),
        Column("path", "the file", decode="text"),
    ),
    output=Stream(columns=()),
)
DTYPE = np.dtype([("ns", "u8"), ("took", "u8"), ("pid", "u4"), ("comm", "S16"), ("path", "S32")])
NAMES = ("pid", "took_ns", "comm", "path")


def batch(*rows):
    return EventDecoder(SCHEMA, decoders({})).batch(np.array(list(rows), dtype=DTYPE))


THREE = [
    (1_000, 2**64 - 1, 7, b"cat", b"/etc/passwd"),
    (2_000, 0, 2**32 - 1, b"0123456789abcdef", b"/x\0left from before"),
    (3_000, 5, 7, b"cat", b"/\xff\x1b[2J"),
]


def test_rows_are_plain_values():
    assert list(batch(*THREE).value_rows()) == [
        {"pid": 7, "took_ns": 2**64 - 1, "comm": "cat", "path": "/etc/passwd"},
        {"pid": 2**32 - 1, "took_ns": 0, "comm": "0123456789abcdef", "path": "/x"},
        {"pid": 7, "took_ns": 5, "comm": "cat", "path": "/\\xff\x1b[2J"},
    ]
    assert [type(value) for value in next(batch(*THREE).value_rows()).values()] == [int, int, str, str]


def test_bytes_end_at_their_length_or_their_room():
    fields = [("ns", "u8"), ("args_len", "u4"), ("args", "u1", 6), ("path", "u1", 3)]
    records = np.array([(1, 4, list(b"a\0b\0xx"), list(b"c\0d"))], fields)
    columns = Column("args", "", decode="arguments"), Column("path", "", decode="arguments")
    schema = Schema(tracer="fake", keys=(), values=columns, output=Stream(columns=()))
    [row] = EventDecoder(schema, decoders({})).batch(records).value_rows()
    assert row == {"args": "a b", "path": "c d"}


def test_an_empty_batch_has_no_rows():
    assert list(batch().value_rows()) == []
    assert len(batch()) == 0
    assert {name: len(values) for name, values in batch().to_numpy().items()} == dict.fromkeys(
        ("time", *NAMES), 0
    )


def test_a_column_that_is_not_there():
    with pytest.raises(KeyError, match="ns"):
        batch(*THREE).column("ns")


def test_numpy():
    columns = batch(*THREE).to_numpy()
    assert list(columns) == ["time", *NAMES]
    assert columns["time"].dtype == "datetime64[ns]"
    assert (columns["time"][1:] - columns["time"][:-1]).astype(int).tolist() == [1000, 1000]
    assert columns["pid"].dtype == "u4"
    assert columns["took_ns"].tolist() == [2**64 - 1, 0, 5]
    assert columns["path"].tolist() == ["/etc/passwd", "/x", "/\\xff\x1b[2J"]


def test_names_are_kept_once():
    comm = batch(*THREE).column("comm")
    assert isinstance(comm, Coded)
    assert len(comm) == 3
    assert sorted(comm.names) == ["0123456789abcdef", "cat"]


def test_times_are_when_it_happened():
    before = time.time_ns()
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    [moment] = batch((now, 0, 0, b"", b"")).times.tolist()
    assert before - 1_000_000_000 < moment < time.time_ns() + 1_000_000_000


def test_times_follow_a_clock_that_was_set_and_no_other(monkeypatch):
    offset = 10**18
    monkeypatch.setattr(event_batches, "_measure_clock_offset", lambda: offset)
    event_decoder = EventDecoder(SCHEMA, decoders({}))
    row = np.array([(5, 0, 0, b"", b"")], dtype=DTYPE)
    assert event_decoder.batch(row).times.tolist() == [10**18 + 5]
    offset += 1_000_000  # steered: differences stay exact
    assert event_decoder.batch(row).times.tolist() == [10**18 + 5]
    offset += 3600 * 10**9  # set, or the machine slept
    assert event_decoder.batch(row).times.tolist() == [offset + 5]


def test_arrow():
    table = batch(*THREE).to_arrow()
    assert table.column_names == ["time", *NAMES]
    assert table.schema.field("time").type == pyarrow.timestamp("ns", "UTC")
    assert pyarrow.types.is_dictionary(table.schema.field("comm").type)
    rows = table.drop(["time"]).to_pylist()
    assert rows == list(batch(*THREE).value_rows())
    assert batch().to_arrow().num_rows == 0


def test_a_number_or_a_name_that_is_not_there_is_null():
    columns = (Column("pid", "process id", null=7), Column("comm", "its name", decode="text"))
    columns += (Column("err", "the error", field="took", decode="errno", null=0),)
    schema = Schema("files", (), columns, Stream(columns=()))
    batch = EventDecoder(schema, decoders({})).batch(np.array(THREE, dtype=DTYPE)[1:])
    assert batch.to_arrow().select(["pid", "err"]).to_pydict() == {
        "pid": [2**32 - 1, None],
        "err": [None, "EIO"],
    }
    frame = batch.to_pandas()
    assert frame["pid"].tolist() == [2**32 - 1, pandas.NA]
    assert frame["pid"].dtype == "UInt32"
    assert frame["err"].isna().tolist() == [True, False]


def test_pandas():
    frame = batch(*THREE).to_pandas()
    assert list(frame.columns) == ["time", *NAMES]
    assert isinstance(frame["comm"].dtype, pandas.CategoricalDtype)
    assert str(frame["time"].dt.tz) == "UTC"
    assert frame["time"].astype("int64").diff().tolist()[1:] == [1000, 1000]
    assert frame.drop(columns="time").to_dict("records") == list(batch(*THREE).value_rows())
    assert len(batch().to_pandas()) == 0
