"""Test the two ends of latency: what is parsed, planned and shown of them."""

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


def planned(*words, **options):
    options = {name.replace("_", "-"): value for name, value in options.items()}
    return make_plan(build_request(LATENCY, words or ENDS, options=options), KERNEL)


def test_keys_and_groups():
    start, end = parse_pair(*ENDS, key="arg1", by="$pid, $comm", end_by="retval")
    assert start.key == end.key is not None
    assert [[one.text for one in spec.by] for spec in (start, end)] == [["$pid", "$comm"], ["retval"]]
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
        planned(key="count + nosuch")
    assert raised.value.text == "count + nosuch"


def test_columns_of_pairs():
    plan = planned(min="1ms", by="$pid")
    computed = [column.name for column in plan.schema.columns if column.computed]
    assert computed == ["count", "$pid", "retval", "$comm", "text"]
    assert [[one.member for one in some] for some in plan.probe_specs.fields] == [
        [STARTED] * 2,
        ["results"] * 2,
    ]
    assert dict(plan.defines)["PT_SPEC_EVENTS"] == ""


def test_columns_of_both_ends_have_names_of_their_own():
    plan = planned('k:vfs_read "%d", $cpu', 'kr:vfs_read "%d", $cpu', min="0")
    assert [column.name for column in plan.schema.columns if column.computed] == [
        "start:$cpu",
        "end:$cpu",
        "text",
    ]


def test_histograms_have_the_groups_alone():
    plan = planned(by="count", end_by="$comm")
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
    shown = {}
    for form in ("json", "csv", "table", "markdown"):
        text = io.StringIO()
        sink = make_sink(form, text, timestamps=False, terminal=False)
        sink.open(planned().schema)
        sink.emit(totals)
        sink.close()
        shown[form] = text.getvalue().splitlines()
    assert json.loads(shown["json"][-1]) == {
        "kind": "totals",
        "time_ns": 1_500_000_000,
        "starts": 3,
        "open": 0,
    }
    assert "total: 3 things" in shown["csv"][-1]
    assert shown["table"] == ["total: 3 things"]
    assert "total: 3 things" in shown["markdown"][0]
