"""-f chrome of a real run: the same events as JSON has, at the same times."""

from __future__ import annotations

import json

import pytest

from support.cli import run

pytestmark = pytest.mark.kernel


def test_sleeps_are_slices(tmp_path):
    out = tmp_path / "out.json"
    load = ("--", "sh", "-c", "for i in 1 2 3 4 5 6 7; do sync /etc/hostname; done")
    done = run("syncsnoop", "-f", "chrome", "-o", out, *load)
    assert done.status == 0, done.err
    events = json.loads(out.read_text())
    slices = [event for event in events if event["ph"] == "X"]
    assert len(slices) == 7
    assert all(event["dur"] * 1000 == pytest.approx(event["args"]["took_ns"], abs=1) for event in slices)
    starts = [event["ts"] for event in slices]
    assert starts == sorted(starts)
    assert {event["args"]["name"] for event in events if event["ph"] == "M"} == {"sync"}
    assert {event["name"] for event in slices} == {"fsync"}


def test_tables_have_no_timeline():
    done = run("syscalls", "-f", "chrome", "-d", 1)
    assert done.status == 2
    assert "invalid choice: 'chrome'" in done.err
