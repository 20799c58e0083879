"""Test how maps of scripts are shown: order, statistics over CPUs, buckets."""

from __future__ import annotations

import os

import numpy as np
import pytest

from pytracer.enrich.script_maps import bucket_bounds, show_map
from pytracer.enrich.script_values import ValueReader, as_traced, quote_for_shell
from pytracer.lang.script.program import ScriptMap
from pytracer.lang.script.types import AggregateType, StringType, TupleType
from pytracer.lang.types import S64, U64, IntType
from pytracer.text import to_bytes

READER = ValueReader((), trailer="..", string_size=64, clock=0)
TEXT = StringType(8)


def map_rows(value, rows, *, keys=(S64,), top=0, divisor=0):
    """Show a map: ``rows`` are pairs of key words and value words, of each CPU for aggregates."""
    text = ScriptMap("@", 0, keys, value)
    entries = [
        (np.array(key, np.int64).tobytes(), np.array(words, np.int64).tobytes()) for key, words in rows
    ]
    return show_map(text, entries, READER, top, divisor)


def word(text):
    return int.from_bytes(text.encode().ljust(8, b"\0"), "little")


def test_the_greatest_value_is_the_last_and_ties_are_by_key():
    actual = map_rows(S64, [((3,), (5,)), ((1,), (-2,)), ((2,), (5,))])
    assert actual.text == "@[1]: -2\n@[2]: 5\n@[3]: 5\n"
    assert actual.data == {"@": {"1": -2, "2": 5, "3": 5}}
    assert (
        map_rows(S64, [((3,), (50,)), ((1,), (-2,)), ((2,), (60,))], top=2, divisor=10).text
        == "@[3]: 5\n@[2]: 6\n"
    )


@pytest.mark.parametrize(
    ("kind", "cpus", "text"),
    [
        ("count", [(2,), (3,)], "5"),
        ("sum", [(-7,), (3,)], "-4"),
        ("avg", [(-7, 2), (3, 1)], "-1"),
        ("min", [(4, 1), (0, 0)], "4"),
        ("min", [(4, 1), (-9, 1)], "-9"),
        ("max", [(-4, 1), (0, 0)], "-4"),
        ("stats", [(10, 2), (5, 1)], "{ .count = 3, .average = 5, .total = 15 }"),
    ],
)
def test_values_of_all_cpus_are_one(kind, cpus, text):
    assert map_rows(AggregateType(kind, signed=True), [((0,), cpus)], keys=()).text == f"@: {text}\n"


def test_unassigned_maps_are_0():
    assert map_rows(S64, [], keys=()).text == "@: 0\n"
    assert map_rows(S64, []).text == ""


def test_keys_of_several_parts_and_tuples():
    rows = [((word("a"), 1), (word("x"),)), ((word("b"), 2), (word("y"),))]
    actual = map_rows(TEXT, rows, keys=(TEXT, U64))
    assert actual.text == "@[a, 1]: x\n@[b, 2]: y\n"
    assert actual.data == {"@": {"a,1": "x", "b,2": "y"}}
    assert map_rows(TupleType((TEXT, S64)), [((0,), (word("t"), 7))], keys=()).text == "@: (t, 7)\n"


def test_histograms_are_from_the_first_bucket_to_the_last():
    rows = [((0, 0), [(1,)]), ((0, 3), [(2,)]), ((0, 5), [(4,)])]
    actual = map_rows(AggregateType("hist", True, (0,)), [((b,), v) for (_, b), v in rows], keys=())
    lines = actual.text.splitlines()
    assert [line.split("|")[0].rstrip() for line in lines[1:-1]] == [
        "(..., 0)               1",
        "[0]                    0",
        "[1]                    0",
        "[2, 4)                 2",
        "[4, 8)                 0",
        "[8, 16)                4",
    ]
    assert lines[6].count("@") == 52
    assert lines[4].count("@") == 26
    assert actual.data["@"][0] == {"max": -1, "count": 1}
    assert actual.data["@"][-1] == {"min": 8, "max": 15, "count": 4}


@pytest.mark.parametrize(
    ("kind", "bounds"),
    [
        (AggregateType("hist", True, (0,)), [(None, 0), (0, 1), (1, 2), (2, 4), (4, 8)]),
        (
            AggregateType("hist", True, (1,)),
            [(None, 0), (0, 1), (1, 2), (2, 3), (3, 4), (4, 6), (6, 8), (8, 12)],
        ),
        (AggregateType("lhist", True, (0, 10, 4)), [(None, 0), (0, 4), (4, 8), (8, 10), (10, None)]),
    ],
)
def test_bounds_of_buckets(kind, bounds):
    assert [bucket_bounds(kind, number) for number in range(len(bounds))] == bounds


def test_truncated_strings_are_marked():
    kind = StringType(64)
    full, cut = b"a" * 62 + b"\0\0", b"a" * 63 + b"\0"
    assert READER.read(kind, full, 0).text == "a" * 62
    assert READER.read(kind, cut, 0).text == "a" * 63 + ".."


def test_hostile_strings_are_harmless_as_text_and_whole_as_data():
    data = b"\x1b[31m\n".ljust(8, b"\0")
    parsed = READER.read(TEXT, data, 0)
    assert parsed.text == "\\x1b[31m\\n"
    assert parsed.data == "\x1b[31m\n"
    assert READER.read(TEXT, b"\xff\xfe".ljust(8, b"\0"), 0).text == "\\xff\\xfe"


def test_strings_that_differ_have_texts_that_differ():
    strings = [b"\xe9", rb"\xe9", b"\n", rb"\n", b"\\", b"\\\\"]
    values = [READER.read(TEXT, text.ljust(8, b"\0"), 0) for text in strings]
    assert len({value.text for value in values}) == len({value.data for value in values}) == len(strings)
    for text, value in zip(strings, values, strict=True):
        assert to_bytes(value.text) == to_bytes(value.data) == os.fsencode(as_traced(value.text)) == text


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("/usr/bin/ls -l a_b", "/usr/bin/ls -l a_b"),
        ("a; reboot", "'a; reboot'"),
        ("$(id)", "'$(id)'"),
        ("it's", """'it'"'"'s'"""),
    ],
)
def test_text_for_a_shell_holds_no_command(text, quoted):
    assert quote_for_shell(text) == quoted


def test_numbers_of_each_kind():
    words = (-5).to_bytes(8, "little", signed=True)
    assert READER.read(IntType(4, True), words, 0).data == -5
    assert READER.read(U64, words, 0).data == 2**64 - 5
    assert READER.read(IntType(1, False, boolean=True), b"\1".ljust(8, b"\0"), 0).text == "true"
