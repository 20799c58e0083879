"""Test the sum of intervals: each key once, counters added, maxima and quotients as of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from pytracer.model import StackSnapshot
from pytracer.view import EventsView, TableView, make_view
from pytracer.view import tables as tables_module
from pytracer.view.tables import WHOLE_RUN
from pytracer.view.whole_run import WholeRun
from support.view_items import FIRST, NOON, schema, table, view_of

SECOND = {("read", 7): (2, 9_000), ("open", 8): (40, 1_000)}


def whole_run_rows(view):
    view.show_whole_run()
    return {(row["syscall"], row["pid"]): row for row in view.rows(0, 100)}


def test_counters_are_added_and_quotients_made_again():
    view = view_of(FIRST, SECOND)
    rows = whole_run_rows(view)
    assert next(iter(rows)) == ("open", 8)  # the greatest counter first
    read_row = rows["read", 7]
    assert (read_row["calls"], read_row["total_ns"], read_row["avg_ns"]) == (7, 14_000, 2000)
    assert rows["write", 7]["calls"] == 3
    assert view.title().startswith("whole run, 2.0 s")
    assert not view.paused
    view.add(table(2, SECOND))
    assert whole_run_rows(view)["read", 7]["calls"] == 9
    view.set_filter("calls>8")
    view.sort_by("calls", descending=False)
    assert [row["calls"] for row in view.rows(0, 9)] == [9, 80]
    view.resume()
    assert len(view) == 1


def test_dropped_intervals_count_in_the_whole_run(monkeypatch):
    monkeypatch.setattr(tables_module, "INTERVALS", 2)
    view = view_of(*[FIRST] * 5)
    assert view.numbers == range(3, 5)
    assert whole_run_rows(view)["read", 7]["calls"] == 25
    view.step(-1)
    assert view.rows(0, 1)[0]["calls"] == 5


def test_stacks_are_added_by_their_frames():
    view = make_view(schema("offcputime"))
    keys = [column.name for column in view.schema.keys]
    for count in (1, 3):
        columns = {name: [("f", "g")] if name in ("kernel", "user") else [7] for name in keys}
        columns |= {column.name: np.array([count]) for column in view.schema.values}
        view.add(StackSnapshot("row", NOON, 1.0, columns))
    view.show_whole_run()
    [row] = view.rows(0, 9)
    assert (row["kernel"], row[view.schema.counters[0].name]) == (("f", "g"), 4)
    assert isinstance(view.shown(), StackSnapshot)


def test_two_viewers_select_intervals_independently():
    view = view_of(FIRST, SECOND)
    assert isinstance(view, TableView)
    revision = view.revision
    with view.at(0):
        assert (len(view), view.place) == (3, 0)
    with view.at(WHOLE_RUN):
        assert (len(view), view.place) == (4, WHOLE_RUN)
    with view.at(99):
        assert view.place == 1
    assert (len(view), view.place, view.revision) == (2, 1, revision)


def test_histograms_are_not_added_and_keys_are_bounded(monkeypatch):
    assert not WholeRun.can_add(schema("biolatency"))
    monkeypatch.setattr("pytracer.view.whole_run.ROWS", 1)
    view = view_of(FIRST)
    assert list(whole_run_rows(view)) == [("read", 7)]
    assert "without 2 rows" in view.title()
    assert isinstance(make_view(schema("opensnoop")), EventsView)


@pytest.mark.parametrize(
    "name", ["syscalls", "profile", "offcputime", "wakeuptime", "memleak", "top", "stackcount"]
)
def test_tables_and_stacks_can_be_added(name):
    assert WholeRun.can_add(schema(name))
