"""Test results of probe specs, from records to columns and lines."""

from __future__ import annotations

import numpy as np
import pytest

from pytracer.enrich.probe_results import ResultColumns
from pytracer.lang import parse_trace
from pytracer.model import Coded
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.spec import registry
from support.probe_spec_kernel import kernel

ROOM = 80


def records(plan, *rows):
    """Return records of a plan: (target, unread bits, numbers, texts) each."""
    specs = plan.probe_specs
    results = np.dtype(
        [("numbers", "u8", specs.numbers), ("unread", "u4"), ("texts", f"S{specs.texts * ROOM}")], align=True
    )
    raw_records = np.zeros(
        len(rows), np.dtype([("pid", "u4"), ("target", "u4"), ("results", results)], align=True)
    )
    for row, (target, unread, numbers, texts) in zip(raw_records, rows, strict=True):
        row["target"], row["results"]["unread"] = target, unread
        row["results"]["numbers"][: len(numbers)] = [number & (1 << 64) - 1 for number in numbers]
        # Behind the end of a text there may be anything.
        row["results"]["texts"] = b"".join((text + b"\0rest").ljust(ROOM, b"x") for text in texts)
    return raw_records


def plan_specs(*texts):
    return make_plan(Request(registry.get("trace"), probe_specs=tuple(map(parse_trace, texts))), kernel())


def columns(plan, records):
    """Return every computed column, as lists."""
    computed = ResultColumns(plan.probe_specs).columns(plan.schema)
    return {name: compute(records).tolist() for name, compute in computed.items()}


def test_numbers_texts_and_lines():
    plan = plan_specs('k:vfs_read "%d|%5u|%#x|%-6s|%s|%c%%", file->f_pos, count, count, buf, $comm, arg4')
    raw_records = records(
        plan,
        (0, 0, [-3, 7, 255, 65], [b"one", b"cat"]),
        (0, 0, [9, 8, 1 << 63, 0x41], [b"\xff\x1b", b""]),
    )
    actual = columns(plan, raw_records)
    assert actual["text"] == ["-3|    7|0xff|one   |cat|A%", "9|    8|0x8000000000000000|\\xff\x1b ||A%"]
    assert actual["file->f_pos"] == [-3, 9]
    assert actual["buf"] == ["one", "\\xff\x1b"]
    assert actual["arg4"] == ["A", "A"]


def test_unreadable_values_are_null():
    plan = plan_specs('k:vfs_read "%d %s %x", file->f_pos, buf, count')
    raw_records = records(
        plan, (0, 0b000, [1, 2], [b"a"]), (0, 0b101, [0, 0], [b"b"]), (0, 0b010, [3, 4], [b""])
    )
    assert columns(plan, raw_records) == {
        "file->f_pos": [1, None, 3],
        "buf": ["a", "b", None],
        "count": [2, None, 4],
        "text": ["1 a 2", "- b -", "3 - 4"],
    }


def test_several_probe_specs_share_columns_and_leave_the_others_empty():
    plan = plan_specs('k:vfs_read "n=%d", count', 'u:x:work(int count) "%d", count', "k:nothing")
    raw_records = records(plan, (0, 0, [5], []), (1, 0, [-6], []), (2, 0, [0], []), (7, 0, [0], []))
    actual = columns(plan, raw_records)
    assert actual == {"count": [5, -6, None, None], "text": ["n=5", "-6", "", None]}


def test_names_are_there_once():
    plan = plan_specs('k:vfs_read "%s", buf')
    computed = ResultColumns(plan.probe_specs).columns(plan.schema)
    raw_records = records(plan, *[(0, 0, [], [b"same"])] * 3)
    for name in ("buf", "text"):
        column = computed[name](raw_records)
        assert isinstance(column, Coded)
        assert (column.names, column.codes.tolist()) == (("same",), [0, 0, 0])


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("%d", -1, "-1"),
        ("%u", 1, "1"),
        ("%05d", -42, "-0042"),
        ("%+d", 3, "+3"),
        ("%-4d|", 3, "3   |"),
        ("%x", 255, "ff"),
        ("%X", 255, "FF"),
        ("%#o", 8, "010"),
        ("%p", 255, "0xff"),
        ("%8p", 255, "    0xff"),
        ("%c", 97, "a"),
        ("%3c", 97, "  a"),
        ("%lld", -5, "-5"),
        ("100%% %i", 2, "100% 2"),
    ],
)
def test_conversions(form, value, expected):
    plan = plan_specs(f'k:vfs_read "{form}", file->f_pos')
    [line] = columns(plan, records(plan, (0, 0, [value], [])))["text"]
    assert line == expected


def test_no_records():
    plan = plan_specs('k:vfs_read "%d %s", count, buf')
    assert columns(plan, records(plan)) == {"count": [], "buf": [], "text": []}
