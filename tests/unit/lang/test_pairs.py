"""Test the start and end probe specs of latency: parsing, planning and output."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from pytracer.errors import ProbeSpecError, UsageError
from pytracer.lang import STARTED, parse_pair
from pytracer.model import Totals
from pytracer.model.reduce import group_keys
from pytracer.plan import make_plan
from pytracer.request import build_request
from pytracer.sinks import make_sink
from pytracer.spec import registry
from support.probe_spec_kernel import kernel

LATENCY = registry.get("latency")
KERNEL = kernel()
ENDS = ('k:vfs_read "%d", count', 'kr:vfs_read "%d %s", retval, $comm')


def plan_words(*words, **options):
    options = {name.replace("_", "-"): value for name, value in options.items()}
    return make_plan(build_request(LATENCY, words or ENDS, options=options), KERNEL)


def test_keys_and_groups():
    start, end = parse_pair(*ENDS, key="arg1", by="$pid, $comm", end_by="retval")
    assert start.key == end.key is not None
    assert [[expression.text for expression in spec.by] for spec in (start, end)] == [
        ["$pid", "$comm"],
        ["retval"],
    ]
    start, end = parse_pair(*ENDS, key="arg1", end_key="$tid")
    assert (start.key.text, end.key.text) == ("arg1", "$tid")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end_key": "1"}, "the start has none"),
        ({"key": "1, 2"}, "','"),
        ({"by": "1 2"}, "'2'"),
        ({"key": "("}, "missing"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises((ProbeSpecError, UsageError), match=message):
        parse_pair(*ENDS, **options)


def test_the_same_event_needs_filters():
    with pytest.raises(UsageError, match="both the start and the end"):
        parse_pair("k:vfs_read", "k:vfs_read")
    assert parse_pair("k:vfs_read (count > 1)", "k:vfs_read (count == 1)")


def test_a_mistake_in_a_key_is_marked_in_the_key():
    with pytest.raises(ProbeSpecError) as raised:
        plan_words(key="count + nosuch")
    assert raised.value.text == "count + nosuch"


def test_columns_of_pairs():
    plan = plan_words(min="1ms", by="$pid")
    computed = [column.name for column in plan.schema.columns if column.computed]
    assert computed == ["count", "$pid", "retval", "$comm", "text"]
    assert [[field.member for field in fields] for fields in plan.probe_specs.fields] == [
        [STARTED] * 2,
        ["results"] * 2,
    ]
    assert dict(plan.defines)["PT_SPEC_EVENTS"] == ""


def test_columns_of_both_ends_have_names_of_their_own():
    plan = plan_words('k:vfs_read "%d", $cpu', 'kr:vfs_read "%d", $cpu', min="0")
    assert [column.name for column in plan.schema.columns if column.computed] == [
        "start:$cpu",
        "end:$cpu",
        "text",
    ]


def test_histograms_have_the_groups_alone():
    plan = plan_words(by="count", end_by="$comm")
    assert [column.name for column in plan.schema.keys] == ["count", "$comm"]
    assert "PT_SPEC_EVENTS" not in dict(plan.defines)


def test_equal_keys_are_one_group_in_all_slots():
    keys = np.array([(1, 7, b"a"), (2, 7, b"a"), (1, 8, b"a"), (3, 7, b"b")], "u4,u8,S3")
    keys.dtype.names = ("slot", "value", "text")
    groups, number = group_keys(keys, "slot")
    assert number[0] == number[1]
    assert len(set(number.tolist())) == len(groups) == 3
    assert groups[number[2]]["value"] == 8


def test_totals_in_each_format():
    totals = Totals({"starts": 3, "open": 0}, {"starts": "things", "open": "open things"}, 1.5)
    outputs = {}
    for form in ("json", "csv", "table", "markdown"):
        text = io.StringIO()
        sink = make_sink(form, text, timestamps=False, terminal=False)
        sink.open(plan_words().schema)
        sink.emit(totals)
        sink.close()
        outputs[form] = text.getvalue().splitlines()
    assert json.loads(outputs["json"][-1]) == {
        "kind": "totals",
        "time_ns": 1_500_000_000,
        "starts": 3,
        "open": 0,
    }
    assert "total: 3 things" in outputs["csv"][-1]
    assert outputs["table"] == ["total: 3 things"]
    assert "total: 3 things" in outputs["markdown"][0]
