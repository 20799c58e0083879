"""Test losses by reason: those that the C, the kernel, links and the reader of a stream count."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import pytest

from pytracer.bpf.builder import LoadedPrograms
from pytracer.model.loss import MISSED, REASONS, RING_FULL, TRUNCATED
from pytracer.trace import loss_counter
from pytracer.trace.loss_counter import LossCounter

MAP_FULL = "map_full"


class Lossy:
    """A session with all kinds of losses as numbers."""

    def __init__(self, monkeypatch) -> None:
        self.by_reason = dict.fromkeys(REASONS, 0)
        self.collector = SimpleNamespace(lost=0, truncated=0)
        self.links = SimpleNamespace(missed=0, attached=[])
        self.skipped = 0
        monkeypatch.setattr(loss_counter, "recursion_misses", lambda _: self.skipped)
        module = SimpleNamespace(maps={"pt_losses": self})
        loaded = LoadedPrograms(module, {"one": 3, "other": 4})
        self.counter = LossCounter(loaded, self.links, self.collector, lambda _: None)

    def entries(self):
        """Return an entry for each reason, with a number for each of two CPUs."""
        counts = enumerate(self.by_reason.values())
        return [(struct.pack("=I", number), struct.pack("=QQ", count, 0)) for number, count in counts]

    def new(self) -> dict[str, int]:
        return {loss.reason: loss.lost for loss in self.counter.read()}


@pytest.fixture
def loss_machine(monkeypatch):
    return Lossy(monkeypatch)


def test_a_loss_is_reported_once(loss_machine):
    assert loss_machine.new() == {}
    loss_machine.by_reason[MAP_FULL] = 5
    assert loss_machine.new() == {MAP_FULL: 5}
    loss_machine.by_reason[MAP_FULL] = 7
    assert loss_machine.new() == {MAP_FULL: 2}
    assert loss_machine.new() == {}


def test_runs_that_were_skipped_are_counted_by_programs_and_by_links(loss_machine):
    loss_machine.skipped, loss_machine.links.missed = 2, 3
    assert loss_machine.new() == {MISSED: 2 + 2 + 3}


def test_records_without_room_are_counted_once_by_the_c_or_the_reader(loss_machine):
    """Before Linux 5.1 only the reader counts them, since then both may count the same records."""
    loss_machine.collector.lost = 4
    assert loss_machine.new() == {RING_FULL: 4}
    loss_machine.by_reason[RING_FULL] = 4
    assert loss_machine.new() == {}
    loss_machine.by_reason[RING_FULL] = 6
    assert loss_machine.new() == {RING_FULL: 2}


def test_strings_that_the_c_cut_and_those_that_the_reader_cut_add_up(loss_machine):
    loss_machine.by_reason[TRUNCATED], loss_machine.collector.truncated = 3, 4
    assert loss_machine.new() == {TRUNCATED: 7}
