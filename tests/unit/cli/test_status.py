"""Test messages about slow steps, and about a trace that waits for events."""

from __future__ import annotations

import time

import pytest

from pytracer import progress
from pytracer.cli import tracer_parser
from pytracer.cli.status import describe_wait
from pytracer.plan import make_plan
from pytracer.spec import registry
from support.fake_kernel import FakeKernel


@pytest.fixture
def lines(monkeypatch):
    """Collect the reports, which come without delay."""
    actual = list[str]()
    monkeypatch.setattr(progress, "_SECONDS", 0.001)
    progress.report_to(actual.append)
    yield actual
    progress.report_to(None)


def wait_for(lines, count):
    while len(lines) < count:
        time.sleep(0.001)


def test_a_step_is_reported_until_it_ends(lines):
    with progress.step("compiling"):
        wait_for(lines, 2)
    assert lines[:2] == ["pytracer: compiling ..."] * 2
    assert lines[-1] == ""


def test_the_length_of_a_bar_is_the_completed_part(lines):
    with progress.step("attaching", 4) as attaching:
        wait_for(lines, 1)
        attaching.advance()
        wait_for(lines, len(lines) + 2)
    assert lines[0] == f"pytracer: attaching [{'.' * 30}] 0 of 4"
    assert f"pytracer: attaching [{'#' * 7}{'.' * 23}] 1 of 4" in lines


def test_an_error_ends_the_line_as_well(lines):
    with pytest.raises(KeyError), progress.step("loading"):
        raise KeyError
    assert lines[-1] == ""


def test_without_a_terminal_nothing_is_reported():
    with progress.step("compiling") as step:
        step.advance()
    assert step.done == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["opensnoop"], "tracing opensnoop; Ctrl-C ends"),
        (["opensnoop", "-p", "1"], "tracing opensnoop in 1 process; Ctrl-C ends"),
        (["opensnoop", "-d", "2.5"], "tracing opensnoop; ends after 2.5 s, or by Ctrl-C"),
    ],
)
def test_the_awaited_event_of_a_trace_is_described(words, text):
    tracer, *arguments = words
    request, _ = tracer_parser.parse(registry.get(tracer), arguments)
    assert describe_wait(make_plan(request, FakeKernel())) == text
