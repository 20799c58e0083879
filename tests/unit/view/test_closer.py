"""Test which tracers look closer at a row."""

from __future__ import annotations

import pytest

from pytracer.spec import Filter, registry
from pytracer.view.closer import find_closer, narrow

SYSCALLS = registry.get("syscalls")
HOSTILE = "a'; rm -rf \\x1b[2J"  # a name with an escape, as rows have it


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"pid": 7, "tid": 8, "comm": "a"}, (Filter.TID, "8")),
        ({"pid": 7, "comm": "a"}, (Filter.PID, "7")),
        ({"comm": HOSTILE}, (Filter.COMM, "a'; rm -rf \x1b[2J")),
        ({"pid": 0, "comm": None}, None),
        ({"disk": "sda"}, None),
    ],
)
def test_rows_name_tasks(row, found):
    assert narrow(row, (Filter.PID, Filter.TID, Filter.COMM)) == found


def test_drill_downs_follow_the_declarations_of_tracers():
    tracers = registry.all_tracers(pytest.fail)
    stacks = list(find_closer("stacks", SYSCALLS, {"pid": 7, "comm": "a"}, tracers))
    assert ("profile", "-p", "7") in [choice.words for choice in stacks[:6]]
    assert ("futexstat", "--stacks", "-p", "7") in [choice.words for choice in stacks]
    events = list(find_closer("events", SYSCALLS, {"pid": 7}, tracers))
    assert ("opensnoop", "-p", "7") in [choice.words for choice in events]
    assert not [choice for choice in events if choice.words[0] in ("inject", "trace", "tasks")]
    assert list(find_closer("stacks", SYSCALLS, {"disk": "sda"}, tracers)) == []
