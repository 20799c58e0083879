"""Test saving: the file has the displayed rows, and no other file is overwritten."""

from __future__ import annotations

import csv
import json

import pytest

from pytracer.errors import UsageError
from pytracer.model import Loss
from pytracer.screen import saving
from support.view_items import FIRST, HOSTILE, view_of


@pytest.fixture
def view():
    view = view_of(FIRST)
    view.add(Loss("map_full", 4, "rows", 0.0))
    view.set_filter("calls>0")
    view.sort_by("calls", descending=False)
    return view


def test_csv(view, tmp_path):
    assert saving.save(view, str(tmp_path / "a.csv")) == 2
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [(row["syscall"], row["calls"]) for row in rows[:2]] == [("write", "3"), ("read", "5")]
    assert (rows[2]["reason"], rows[2]["lost"]) == ("map_full", "4")


def test_json(view, tmp_path):
    view.set_filter("")
    saving.save(view, str(tmp_path / "a.json"))
    rows = [json.loads(line) for line in (tmp_path / "a.json").read_text().splitlines()]
    assert [row.get("syscall") for row in rows] == [HOSTILE, "write", "read", None]
    assert rows[-1]["kind"] == "loss"


@pytest.mark.parametrize("name", ["a.csv", "link.csv", "a.pdf", "missing/a.csv"])
def test_files_that_cannot_be_written(view, tmp_path, name):
    (tmp_path / "a.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    with pytest.raises(UsageError):
        saving.save(view, str(tmp_path / name))
    assert (tmp_path / "a.csv").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "link.csv"]


def test_saving_without_data(tmp_path):
    with pytest.raises(UsageError):
        saving.save(view_of(), str(tmp_path / "a.csv"))
