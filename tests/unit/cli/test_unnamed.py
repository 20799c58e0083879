"""Test what is said of frames without a name."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pytracer.cli.unnamed import UnnamedSink, describe_unnamed
from pytracer.model import StackSnapshot
from support.view_items import schema

PROFILE = schema("profile")


class Collected:
    """A sink that keeps its items."""

    def __init__(self):
        self.items = []

    def open(self, schema):
        pass

    def emit(self, item):
        self.items.append(item)

    def close(self):
        self.items.append("closed")


def snapshot(kind, *users):
    columns = {"pid": [1] * len(users), "comm": ["x"] * len(users), "kernel": [("0x12",)] * len(users)}
    columns |= {"user": list(users), "samples": np.ones(len(users), "u8")}
    return StackSnapshot(kind, 0.0, 1.0, columns)


def test_the_summary_says_which_frames_have_no_name_and_what_would_give_one():
    lines, sink = [], Collected()
    watched = UnnamedSink(sink, lines.append)
    watched.open(PROFILE)
    items = [
        snapshot("row", ("libz.so.1+0x10",)),
        snapshot(
            "summary", ("libz.so.1+0x10", "main"), ("libz.so.1+0x20", "a+b", "[anon]"), ("python3.11+0xff",)
        ),
    ]
    for item in items:
        watched.emit(item)
    watched.close()
    assert sink.items == [*items, "closed"]
    assert [line.split(": ")[1] for line in lines] == ["2 in libz.so.1, 1 in python3.11", "1 [anon]"]
    assert "DEBUGINFOD_URLS" in lines[0]
    assert "perf map" in lines[1]


def test_nothing_is_said_where_all_have_names():
    assert list(describe_unnamed(Counter({"main": 3, "f(int) (inlined)": 1}))) == []


def test_few_files_are_named():
    frames = Counter({f"lib{number}.so+0x1": number for number in range(1, 9)})
    [line] = describe_unnamed(frames)
    assert (
        line.split(": ")[1] == ", ".join(f"{n} in lib{n}.so" for n in range(8, 3, -1)) + " and 3 other files"
    )


def test_each_mark_has_its_reason():
    lines = list(describe_unnamed(Counter({"[unknown]": 1200, "[unloaded]": 3})))
    assert [line.split(": ")[1] for line in lines] == ["1,200 [unknown]", "3 [unloaded]"]
