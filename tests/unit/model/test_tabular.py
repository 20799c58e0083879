"""Test what all items share: rows with their time, NumPy, Arrow, pandas, and a representation."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from pytracer.model import Histograms, Loss, Snapshot, StackSnapshot
from pytracer.model.tabular import Tabular

TIME = 1_700_000_000.25
MOMENT = datetime.datetime(2023, 11, 14, 22, 13, 20, 250_000, tzinfo=datetime.timezone.utc)
TABLE = Snapshot(
    "row", TIME, 1.0, {"comm": ["ls", None], "calls": np.array([3, 2**63], "u8"), "err": [None, 2]}
)
STACKS = StackSnapshot("summary", TIME, 2.0, {"user": [("main", "work"), ()], "samples": np.array([7, 5])})
COUNTS = np.zeros((1, 64), np.int64)
COUNTS[0, 0], COUNTS[0, 3] = 1, 4
HISTOGRAMS = Histograms("summary", TIME, 2.0, {"disk": ["sda"]}, "requests", COUNTS, {"max_ns": [15]})
LOSS = Loss("ring_full", 23, "events that found the ring full", TIME)
ITEMS = [TABLE, STACKS, HISTOGRAMS, LOSS]


def test_rows_have_their_time_and_plain_values():
    assert list(TABLE.rows()) == [
        {"time": MOMENT, "comm": "ls", "calls": 3, "err": None},
        {"time": MOMENT, "comm": None, "calls": 2**63, "err": 2},
    ]
    assert [row["user"] for row in STACKS.rows()] == [("main", "work"), ()]
    [row] = HISTOGRAMS.rows()
    assert row == {
        "time": MOMENT,
        "disk": "sda",
        "requests": 5,
        "max_ns": 15,
        "buckets": [{"low": 0, "high": 2, "count": 1}, {"low": 8, "high": 16, "count": 4}],
    }
    assert list(LOSS.rows()) == [
        {"time": MOMENT, "reason": "ring_full", "lost": 23, "meaning": "events that found the ring full"}
    ]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_conversions_have_the_same_columns_and_rows(item: Tabular):
    names, rows = list(item.table()), list(item.rows())
    arrays = item.to_numpy()
    assert list(arrays) == names
    assert {len(array) for array in arrays.values()} == {len(rows)}
    assert arrays["time"].dtype == "datetime64[ns]"
    frame = item.to_pandas()
    assert list(frame.columns) == names
    assert frame["time"].iloc[0].to_pydatetime() == MOMENT
    table = item.to_arrow()
    assert table.column_names == names
    assert table.num_rows == len(rows)


def test_null_stays_null():
    arrays = TABLE.to_numpy()
    assert arrays["err"].tolist() == [None, 2]
    assert arrays["calls"].dtype == np.uint64
    assert TABLE.to_pandas()["err"].isna().tolist() == [True, False]
    assert TABLE.to_arrow()["err"].to_pylist() == [None, 2]
    assert TABLE.to_arrow()["comm"].to_pylist() == ["ls", None]
    assert STACKS.to_arrow()["user"].to_pylist() == [["main", "work"], []]


def test_a_person_can_read_them():
    assert repr(TABLE).splitlines()[0] == "Snapshot (row, 1 s): 2 rows"
    assert "9223372036854775808" in repr(TABLE)
    assert "main;work" in repr(STACKS)
    assert repr(LOSS) == "Loss (ring_full): 23 events that found the ring full"
    snapshot = Snapshot("row", TIME, 1.0, {"n": list(range(101))})
    assert repr(snapshot).splitlines()[-1] == "and 91 more"
    assert len(repr(snapshot).splitlines()) == 14


def test_a_representation_escapes_hostile_names():
    hostile = Snapshot("row", TIME, 1.0, {"comm": ["<script>x</script>", "\x1b[2J"]})
    assert "\x1b" not in repr(hostile)
    page = hostile._repr_html_()
    assert "<script" not in page
    assert "\x1b" not in page
