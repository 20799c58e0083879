"""Test renames against a shell that gives itself known names."""

from __future__ import annotations

import pytest

from support.cli import run
from support.strangers import run_for_one

pytestmark = pytest.mark.kernel
SHELL = "i=0; while [ $i -lt 23 ]; do printf name-$i > /proc/$$/comm; i=$((i+1)); done"


@pytest.mark.lab
@pytest.mark.parametrize("words", [[], ["--hook", "rename=tracepoint"]])
def test_every_name_is_shown_in_order(words):
    result = run("renames", "-f", "json", *words, "--", "sh", "-c", SHELL)
    assert result.status == 0, result.err
    events = result.of("event")
    assert [event["new"] for event in events] == [f"name-{number}" for number in range(23)]
    assert [event["old"] for event in events] == ["sh", *(f"name-{number}" for number in range(22))]
    assert {event["pid"] for event in events} == {event["tid"] for event in events}


def test_names_of_another_process_are_not_shown():
    result, pid = run_for_one("renames", script=SHELL)
    assert result.status == 0, result.err
    events = result.of("event")
    assert [event["new"] for event in events] == [f"name-{number}" for number in range(23)]
    assert {event["pid"] for event in events} == {pid}
