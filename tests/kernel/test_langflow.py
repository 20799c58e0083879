"""Test langflow on programs whose calls and returns are known, line by line."""

from __future__ import annotations

import os
import re

import pytest

from support.cli import run
from support.runtimes import RUBY, python, trace

pytestmark = pytest.mark.kernel

CODE = """
def inner(n): return n
def outer():
    inner(1)
    try: fail()
    except ValueError: inner(2)
def fail(): raise ValueError
def numbers(): yield inner(3)
outer()
list(numbers())
"""
FLOW = [
    *((2, "call", "outer"), (3, "call", "inner"), (3, "return", "inner"), (3, "call", "fail")),
    *((3, "return", "fail"), (3, "call", "inner"), (3, "return", "inner"), (2, "return", "outer")),
    *((2, "call", "numbers"), (3, "call", "inner"), (3, "return", "inner"), (2, "return", "numbers")),
    *((2, "call", "numbers"), (2, "return", "numbers")),
]


def flow(result, scope):
    """Return what happened in a scope: depth, event and function."""
    events = [event for event in result.of("event") if event["scope"] == scope]
    return [(event["depth"], event["event"], event["function"]) for event in events]


@pytest.mark.lab
@pytest.mark.smoke
def test_calls_of_python_as_they_nest():
    result = trace("langflow", command=python(CODE))
    assert flow(result, "<string>") == [(1, "call", "<module>"), *FLOW]
    for event in result.of("event"):
        assert (event["latency_ns"] is None) == (event["event"] == "call")
        assert event["nesting"] == "  " * (event["depth"] - 1) + ("->" if event["event"] == "call" else "<-")
        assert event["language"] == "python"
    [total] = result.of("totals")
    assert (total["calls"], total["returns"], total["open"]) == (total["returns"] + 1, total["calls"] - 1, 1)
    assert len(result.of("event")) == total["calls"] + total["returns"]


def test_a_depth():
    result = trace("langflow", "--depth", "2", command=python(CODE))
    assert flow(result, "<string>") == [(1, "call", "<module>"), *(one for one in FLOW if one[0] < 3)]
    table = run("langflow", "--depth", "2", "--", *python(CODE), env={"PATH": os.defpath}).out
    assert re.search(r"^ *\d+ +2 +- +  -> +outer +<string>$", table, re.M), table
    assert re.search(r"^ *\d+ +2 +[0-9.]+ .s +  <- +outer +<string>$", table, re.M), table


def test_ends_of_calls_of_ruby_that_raise():
    """A method in C that raises is left without a return."""
    code = (
        "TracePoint.new(:call, :return) {}.enable\nclass Animal\n  def fail; raise 'no'; end\nend\n"
        "begin; Animal.new.fail; rescue; end"
    )
    result = trace("langflow", command=(*RUBY, "-e", code))
    depths = flow(result, "Animal")
    assert depths == [(depths[0][0], "call", "fail"), (depths[0][0], "return", "fail")]
    assert [event["event"] for event in result.of("event") if event["function"] == "raise"] == ["call"]
    [total] = result.of("totals")
    assert (total["left"], total["unstarted"]) == (1, 0)


def test_events_that_do_not_fit():
    result = run("langflow", "-f", "json", "--buffer", "4k", "--", *python(CODE), env={"PATH": os.defpath})
    [total] = result.of("totals")
    lost = sum(loss["lost"] for loss in result.of("loss"))
    assert len(result.of("event")) + lost == total["calls"] + total["returns"]
