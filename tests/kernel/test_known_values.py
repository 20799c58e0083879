"""Test trace without a format: all fields and arguments that are known, by name."""

from __future__ import annotations

import os

import pytest

from support.cli import run
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

TIMES = 7


def events(*words):
    result = run("trace", "-f", "json", *words)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result.of("event")


@pytest.mark.smoke
def test_fields_of_a_trace_event(tmp_path):
    script = f"import os; os.access({str(tmp_path)!r}, 4)"
    found_events = [
        event
        for event in events("t:syscalls:sys_enter_access", "--", "python3", "-c", script)
        if event["filename"] == str(tmp_path)
    ]
    assert [(event["mode"], event["text"]) for event in found_events] == [(4, f"filename={tmp_path} mode=4")]
    assert not any(name.startswith("common_") for name in found_events[0])


def test_arguments_of_functions_by_debug_information():
    program = workload("typed")
    found_events = events(f"u:{program}:insert", f"ur:{program}:insert", "--", program, TIMES)
    entries = [event for event in found_events if event["probe"].startswith("u:")]
    assert [event["times"] for event in entries] == list(range(TIMES))
    assert all("weight" not in event for event in entries)  # a fraction cannot be shown
    assert {event["shade"] for event in entries} <= {-1, 7}
    returned = [event["retval"] for event in found_events if event["probe"].startswith("ur:")]
    assert returned == [event["node"] for event in entries]
    assert entries[0]["text"].startswith("list=0x")


def test_arguments_of_usdt_probes_by_position():
    program = workload("pairs")
    found_events = events(f"usdt:{program}:pairs:*", "--", program, "plain", TIMES)
    done = [event for event in found_events if event["probe"].endswith(":done")]
    assert [event["text"] for event in done] == [f"arg1={n} arg2={2 * n}" for n in range(TIMES)]
    assert len(found_events) == 2 * TIMES


def test_an_empty_format_shows_nothing():
    found_events = events('t:syscalls:sys_enter_getppid ""', "t:syscalls:sys_enter_getpgid", "--", *calls())
    assert [event["text"] for event in found_events] == ["", "pid=0"]
    assert [event["arg:pid"] for event in found_events] == [None, 0]


def calls():
    return "python3", "-c", "import os; os.getppid(); os.getpgid(0)"


def test_a_pattern_with_many_sets_of_values_shows_none():
    result = run("trace", "t:syscalls:sys_enter_*", "-d", "0.1", "--dry-run", "-p", os.getpid())
    assert "values are not shown, as the targets have" in result.out
