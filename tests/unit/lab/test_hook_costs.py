"""Test that docs/hooks.md is what was recorded, and has every hook that is tried."""

from __future__ import annotations

import pytest
from lab import hook_costs
from lab.guest import hook_costs as guest
from lab.guest import map_costs
from lab.kernels import KERNELS

from pytracer.features import feature_table


def test_the_page_equals_the_recorded_results():
    assert hook_costs.PAGE.read_text() == hook_costs.page(hook_costs.load()), (
        "run scripts/record --hooks --page"
    )


def test_every_hook_that_is_tried_is_reported():
    assert list(hook_costs.MEASURED) == [hook.name for hook in guest.HOOKS]


def test_every_hook_that_is_tried_is_in_the_table_of_features():
    for name in hook_costs.MEASURED:
        assert hook_costs.features(name), name
        assert hook_costs.features(name)[0].limits, name


def test_costs_of_maps_are_measured_for_probed_types():
    probed = {feature.name for feature in feature_table.FEATURES if feature.kind == "map"}
    assert map_costs.OPERATIONS.keys() <= probed
    assert {
        operation.hook for operations in map_costs.OPERATIONS.values() for operation in operations
    } <= set(hook_costs.MEASURED)


def test_every_kernel_has_a_result_or_a_reason_for_each_hook():
    """A newer hook is "not tried" until scripts/record --hooks runs again."""
    data = hook_costs.load()
    assert list(data) == [kernel.name for kernel in KERNELS]
    for record in data.values():
        tried = [actual["hook"] for actual in record["hooks"]]
        assert tried == [hook for hook in hook_costs.MEASURED if hook in tried]
        everything = [*record["hooks"], *record["maps"]]
        assert not [actual for actual in everything if actual["status"] == "failed"]


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({"ns": [134.2, 288.6]}, "134 + 154"),
        ({"ns": [20.0, 174.0]}, "yes"),
        ({"ns": []}, "yes"),
        ({"status": "absent", "reason": "no kprobes"}, "no: no kprobes"),
    ],
)
def test_a_cell_has_the_cost_of_a_hook_or_the_reason_for_its_absence(measured, expected):
    record = {"hook": "kprobe", "status": "granted", "noise": 5.0, **measured}
    assert hook_costs.cell({"hooks": [record]}, "kprobe") == expected
    assert hook_costs.cell(None, "kprobe") == hook_costs.UNTRIED


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({"ns": {"look up": 145.3, "update": 441.4}}, "look up 145, update 441"),
        ({"ns": {}}, "yes"),
        ({"status": "absent", "ns": {}}, "no"),
    ],
)
def test_a_cell_has_the_cost_of_a_map_operation(measured, expected):
    assert (
        hook_costs.operations({"maps": [{"map": "hash", "status": "granted", **measured}]}, "hash")
        == expected
    )
    assert hook_costs.operations(None, "hash") == hook_costs.UNTRIED


def test_a_repeated_measurement_replaces_the_old_one():
    old = {
        "release": "6",
        "hooks": [{"hook": "kprobe", "ns": 1}, {"hook": "fentry"}],
        "maps": [{"map": "hash"}],
    }
    new = {"hooks": [{"hook": "kprobe", "ns": 2}], "maps": [{"map": "queue"}]}
    assert hook_costs.merge_record(old, new) == {
        "release": "6",
        "hooks": [{"hook": "kprobe", "ns": 2}, {"hook": "fentry"}],
        "maps": [{"map": "hash"}, {"map": "queue"}],
    }
