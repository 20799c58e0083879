"""Test the loop of every run, over a simulated table of programs."""

from __future__ import annotations

import argparse
import threading

import pytest

from pytracer.model import Snapshot
from pytracer.trace.event_loop import EventLoop
from pytracer.trace.program_watch import ProgramCollector, watch_programs


class Programs:
    """A table that records its calls."""

    def read(self, kind, *, sort: str, top: int | None) -> Snapshot:
        return Snapshot(kind, 0.0, 0.1, {"id": [7], "name": [f"{sort} {top}"]})


def schedule(**fields: float) -> argparse.Namespace:
    return argparse.Namespace(**{"interval": None, "count": None, "duration": None, **fields})


@pytest.fixture
def events():
    loop = EventLoop()
    yield loop
    loop.close()


def kinds(times: argparse.Namespace, events: EventLoop, *, summary: bool = True) -> list[str]:
    collector = ProgramCollector(Programs(), "runs", 5, summary=summary)
    items = list(watch_programs(collector, times, events))
    assert {tuple(item.columns["name"]) for item in items} == {("runs 5",)}
    return [item.kind for item in items]


def test_each_interval_has_rows_and_the_run_a_summary(events):
    assert kinds(schedule(interval=0.02, count=3), events) == ["row", "row", "row", "summary"]


def test_a_list_is_shown_once(events):
    assert kinds(schedule(interval=0.02, count=1), events, summary=False) == ["row"]


def test_the_end_of_the_duration_shows_the_current_rows(events):
    assert kinds(schedule(interval=60.0, duration=0.05), events) == ["row", "summary"]


def test_a_request_to_stop_shows_the_current_rows(events):
    timer = threading.Timer(0.05, events.stop)
    timer.start()
    assert kinds(schedule(interval=60.0), events) == ["row", "summary"]
    timer.join()
