"""Test that lines formatted by column equal the lines formatted row by row."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from pytracer.model import Batch, Coded, Schema
from pytracer.model.text_columns import column_texts, join_columns
from pytracer.sinks import make_sink
from pytracer.spec import Column, Stream, Unit

PATHS = ("/tmp/a", 'quote " and, comma', "new\\nline", "=1+1", "", "\\xff", "wide \u4e2d", "esc \x1b[2J")
COLUMNS = {
    "pid": np.array([1, 2**32 - 1, 7, 0, 5, 6, 7, 8], dtype=np.uint32),
    "fd": np.ma.masked_equal(np.array([3, -1, -5, 0, -1, 9, 10, 11]), -1),
    "share": np.array([0.5, 1e-9, 3.0, 1 / 3, -0.0, 2.5, 1e22, 4.0]),
    "seen": np.array([True, False] * 4),
    "path": Coded(PATHS, np.array([0, 1, 2, 3, 4, 5, 6, -1])),
    "last": Coded(("x",), np.array([0, -1, 0, 0, -1, 0, 0, 0])),
}


def batch():
    times = np.arange(8) * 1_000_001 + 1_700_000_000_123_456_789
    records = np.zeros(8, dtype=[("ns", "u8")])
    return Batch(tuple(COLUMNS), records, times, lambda name, _: COLUMNS[name])


def render(form, *, timestamps=False):
    columns = tuple(
        Column(name, "a help", unit=Unit.NONE, decode="text" if isinstance(values, Coded) else "")
        for name, values in COLUMNS.items()
    )
    stream = io.StringIO()
    sink = make_sink(form, stream, timestamps=timestamps, terminal=False)
    sink.open(Schema("test", (), columns, Stream(columns=columns)))
    sink.emit(batch())
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("timestamps", [False, True])
def test_json_is_that_of_each_row(timestamps):
    lines = [json.loads(line) for line in render("json", timestamps=timestamps)]
    expected = [
        {"kind": "event", "time_ns": time} | row
        for time, row in zip(batch().times.tolist(), batch().value_rows(), strict=True)
    ]
    assert all("time" in line for line in lines) == timestamps
    assert [{name: value for name, value in line.items() if name != "time"} for line in lines] == expected
    assert list(lines[0])[:2] == (["kind", "time"] if timestamps else ["kind", "time_ns"])
    assert all(line.isascii() for line in render("json"))


def test_csv_is_read_back():
    head, *rows = csv.reader(render("csv"))
    assert head == ["kind", *COLUMNS, "reason", "lost"]
    assert [row[1:4] for row in rows[:2]] == [["1", "3", "0.5"], ["4294967295", "", "1e-09"]]
    assert [row[5] for row in rows] == [
        "/tmp/a",
        'quote " and, comma',
        "new\\nline",
        "'=1+1",
        "",
        "\\xff",
        "wide \u4e2d",
        "",
    ]
    assert all(len(row) == len(head) for row in rows)


def test_lines_of_tables_end_without_blanks():
    lines = render("table")[1:]
    assert len(lines) == 8
    assert all(line == line.rstrip() for line in lines)
    assert [line.split()[0] for line in lines][:2] == ["1", "4294967295"]
    assert lines[1].endswith("-")


def test_each_name_is_encoded_once():
    encoded = []
    values = Coded(("a", "b"), np.array([1, 0, 1, 1]))
    texts = column_texts(values, lambda name: encoded.append(name) or str(name), "<%s>")
    assert texts == ["<b>", "<a>", "<b>", "<b>"]
    assert encoded == ["a", "b", None]
    assert join_columns([texts, ["\n"] * 4]) == "<b>\n<a>\n<b>\n<b>\n"
    assert join_columns([[], []]) == ""
