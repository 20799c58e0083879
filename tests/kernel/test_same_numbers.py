"""Test the live screen, the page and its pictures beside the table of the same run."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

import pytracer
from pytracer.screen.app import LiveApp
from pytracer.screen.rows import RowsPane
from pytracer.view import make_view
from pytracer.view.detail import describe
from pytracer.web.described import describe_rows
from pytracer.web.pictures import make_picture
from support.timelines import write_items
from support.workloads import workload

pytestmark = pytest.mark.kernel
OPENS = [workload("opens"), "openat", "0", "23", "/pt/not/there"]


def run_outputs(tracer, *arguments, **options):
    """Run a tracer. Returns its rows, table, view, screen, and the page's picture."""
    with pytracer.open(tracer, *arguments, **options) as trace:
        items = list(trace)
    assert trace.lost == 0
    rows = [json.loads(line) for line in write_items("json", trace.schema, *items).splitlines()]
    view, picture = make_view(trace.schema), make_picture(trace.schema)
    for item in items:
        view.add(item)
        if picture is not None:
            picture.add(item)
    table = write_items("table", trace.schema, *items).decode()
    return rows, table, view, screen_of(view, trace.schema.tracer), picture


def screen_of(view, name, columns=100):
    """Return the rows on a screen with room for all, as words."""
    app = LiveApp(view, pytracer.spec.registry.get(name), [name])
    lines = []

    async def run():
        async with app.run_test(size=(columns, 100)) as pilot:
            await pilot.pause()
            app.draw()
            lines.extend(app.query_one(RowsPane).text.splitlines())

    asyncio.run(run())
    return [line.split() for line in lines[1:]]


def page_of(view):
    return [" ".join(cells).split() for cells in describe_rows(view, 0)["cells"]]


def test_a_table():
    rows, table, view, _, _ = run_outputs("syscalls", command=OPENS)
    expected = [line.split() for line in table.partition("whole run")[2].splitlines()[2:] if line]
    assert sum(row["calls"] for row in rows if row["kind"] == "summary") == sum(
        int(fields[1]) for fields in expected
    )
    screen = screen_of(view, "syscalls", 70)  # with room for no more columns than the table has
    assert [fields[: len(expected[0])] for fields in screen] == expected
    assert page_of(view) == expected


def test_events():
    rows, table, view, screen, _ = run_outputs("opensnoop", command=OPENS)
    expected = [line.split() for line in table.splitlines()[1:]]
    assert len(rows) == len(expected) == 23
    assert [fields[1:] for fields in screen if fields] == expected
    assert [fields[1:] for fields in page_of(view)] == expected


def test_histograms():
    rows, table, view, screen, picture = run_outputs("syscalls", latency=True, interval=0.1, command=OPENS)
    summaries = {row["syscall"]: row for row in rows if row["kind"] == "summary"}
    assert summaries["openat"]["calls"] >= 23
    summary_text = table.partition("whole run")[2]
    for index, row in enumerate(view.rows(0, len(view))):
        buckets = re.findall(
            r"\S+, .*?\) +\d+ \|", summary_text.partition(f"{row['syscall']}: ")[2].partition("total")[0]
        )
        detail = "\n".join(describe(view, row))
        assert buckets
        assert [line for line in buckets if " ".join(line.split()) not in " ".join(detail.split())] == []
        assert (screen[index][0], int(screen[index][1])) == (
            row["syscall"],
            summaries[row["syscall"]]["calls"],
        )
    assert [line[:2] for line in page_of(view)] == [line[:2] for line in screen]
    total = sum(row["calls"] for row in summaries.values())
    assert f'data-total="{total}"' in picture.draw()


def test_stacks():
    rows, _, view, screen, picture = run_outputs(
        "stackcount", "t:raw_syscalls:sys_enter", interval=0.1, command=OPENS
    )
    hits = sorted(row["hits"] for row in rows if row["kind"] == "summary")
    assert sum(hits) > 23
    assert sorted(int(line[-2]) for line in screen) == hits  # behind it is the trend
    assert sorted(row["hits"] for row in view.rows(0, len(view))) == hits
    assert f'data-total="{sum(hits)}"' in picture.draw()
