"""Test how scripts/bench presents results, and missing peers."""

from __future__ import annotations

import contextlib

import pytest
from bench import cli, cost, growth, sizes
from bench import performance_page as pages
from bench.measure import MissingPeerError, in_turns, result
from bench.peers import find
from bench.performance_page import Group
from bench.work import gated, work


def measured(own, peer, target=None, **options):
    return result("x", "what it costs", "somebody", own, peer, target=target, unit="ns", **options)


def test_a_ratio_is_of_the_medians_and_its_spread_of_the_rounds():
    result = measured([2.0, 3.0, 10.0], [4.0, 3.0, 5.0], 0.8)
    assert (result.ratio, result.low, result.high) == (3.0 / 4.0, 0.5, 2.0)
    assert result.holds is True
    assert measured([2.0], [1.0], 3, at_most=False).holds is False
    assert measured([2.0], [1.0]).holds is None


def test_a_peer_that_costs_nothing_is_none():
    with pytest.raises(MissingPeerError, match="x: the peer's costs are too small"):
        measured([1.0], [-0.1])


def test_turns_are_taken_in_both_orders():
    order = []
    takers = [lambda name=name: order.append(name) or float(len(order)) for name in "abc"]
    assert in_turns(2, *takers) == [[1, 6], [2, 5], [3, 4]]
    assert "".join(order) == "abccba"


def test_results_with_and_without_a_target():
    held, free = measured([1.0], [2.0], 0.6), measured([1.0], [2.0])
    assert "(0.5 to 0.5; at most 0.6: holds)" in cli.line(held)
    assert cli.line(free).endswith("(0.5 to 0.5)")
    group = Group("a machine", [held, measured([1.0], [2.0], 0.4), free], ["y: no y"])
    page = pages.page({"x": group, "sizes": Group("a machine", sizes=[("a call", 10_000, 2.5, "ns")])})
    assert "\na machine.\n" in page
    assert "| 0.5 | 0.5 to 0.5 | at most 0.6 | holds |" in page
    assert "| at most 0.4 | **does not hold** |" in page
    assert "| 0.5 | 0.5 to 0.5 |  |  |" in page
    assert "- Left out: y: no y" in page
    assert "| a call | 10,000 | 2.5 ns |" in page


def test_a_group_measured_anew_replaces_what_was_kept_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "DATA", tmp_path / "data.json")
    monkeypatch.setattr(pages, "PAGE", tmp_path / "page.md")
    old, new = measured([1.0], [2.0]), measured([1.0], [4.0])
    pages.keep(
        {"x": Group("one", [old], ["y: no y"]), "y": Group("one", sizes=[("a call", 1, 2.5, "ns")])}, "yx"
    )
    pages.keep({"x": Group("other", [new])}, "yx")
    assert pages.load(pages.DATA.read_text()) == {
        "y": Group("one", sizes=[("a call", 1, 2.5, "ns")]),
        "x": Group("other", [new]),
    }
    page = pages.PAGE.read_text()
    assert "`y`: one.\n\n`x`: other.\n" in page
    assert "0.25" in page
    assert "Left out" not in page


def test_the_page_is_of_what_is_kept():
    assert pages.PAGE.read_text() == pages.page(pages.load(pages.DATA.read_text()))


def test_a_peer_that_is_missing_is_left_out_by_its_name_and_the_others_are_measured(monkeypatch):
    def missing_peer():
        return work("calls", "1", prefix=(find("no-such-tracer"),))

    def fails():
        return work("calls", "1", prefix=("false",))

    present = cost.Peer("with", "somebody", lambda: 3.0, 2)
    peers = (cost.Peer("without", "nobody", missing_peer), cost.Peer("broken", "nobody", fails), present)
    result = cost.Measure("a call", lambda: 1.0, contextlib.nullcontext, peers)
    monkeypatch.setattr(cost, "MEASURES", (result,))
    *missing, measure = cost.measures(2)
    assert [str(item).rstrip() for item in missing] == [
        "without: no-such-tracer is not installed",
        "broken: false does not run here:",
    ]
    assert (measure.name, measure.peer_value, measure.target) == ("with", 2.0, 2)


def test_sizes_that_cannot_be_had_end_their_kind_alone(monkeypatch):
    def some_sizes(limit):
        yield "a process", 1, 2.5, "ns"
        work("processes", "1", prefix=("false",))

    monkeypatch.setattr(sizes, "events", some_sizes)
    monkeypatch.setattr(sizes, "keys", lambda limit: iter([("a key", limit, 1.0, "ns")]))
    monkeypatch.setattr(sizes, "processes", some_sizes)
    for kind in ("functions", "programs", "cpus"):
        monkeypatch.setattr(growth, kind, lambda limit: iter(()))
    rows = [row if isinstance(row, tuple) else str(row) for row in sizes.rows(quick=True)]
    result = [("a process", 1, 2.5, "ns"), "false does not run here: "]
    assert rows == [*result, ("a key", 5, 1.0, "ns"), *result]


def test_work_that_does_not_wait_is_not_waited_for():
    with pytest.raises(RuntimeError, match="true ended without having stopped"), gated("true"):
        pass
