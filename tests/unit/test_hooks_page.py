"""docs/hooks.md is what was recorded, and has every hook that is tried."""

from __future__ import annotations

import pytest
from lab import hooks
from lab.guest import hooks as guest
from lab.kernels import KERNELS

FLOOR = {"hook": "raw tracepoint", "status": "granted", "ns": 50.0, "noise": 5.0}


def test_the_page_is_what_was_recorded():
    assert hooks.PAGE.read_text() == hooks.page(hooks.load()), "run scripts/record --hooks --page"


def test_every_hook_that_is_tried_is_told_about():
    assert list(hooks.ABOUT) == [hook.name for hook in guest.HOOKS]
    assert guest.HOOKS[0].name == hooks.FLOOR


def test_every_kernel_was_asked_about_the_same_hooks_or_says_so():
    """A hook that has come since is "not tried" where scripts/record --hooks has not asked again."""
    data = hooks.load()
    assert list(data) == [kernel.name for kernel in KERNELS]
    for record in data.values():
        tried = [found["hook"] for found in record["hooks"]]
        assert tried == [hook for hook in hooks.ABOUT if hook in tried]
        assert tried[0] == hooks.FLOOR
        assert not [found for found in record["hooks"] if found["status"] == "failed"]


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ({}, "0.5"),
        ({"ns": 1250.0}, "25"),
        ({"ns": 1250.0, "floor": 500.0, "doubt": 5.0}, "2.5"),
        ({"ns": 4.0}, "yes"),
        ({"status": "absent", "reason": "no kprobes"}, "no: no kprobes"),
    ],
)
def test_a_cell_says_what_a_hook_costs_or_why_it_is_not_there(found, shown):
    other = FLOOR | {"hook": "kprobe", "ns": 25.0} | found
    assert hooks.cell({"hooks": [FLOOR, other]}, "kprobe") == shown
    assert hooks.cell(None, "kprobe") == hooks.UNTRIED
