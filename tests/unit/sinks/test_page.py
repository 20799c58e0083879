"""Test the page of a breakdown of time."""

from __future__ import annotations

import io

import pytest

from pytracer.enrich.waits import CLASSES
from pytracer.model import StackSnapshot, Totals
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.sinks import make_sink
from pytracer.spec import Filter, registry
from support.fake_kernel import FakeKernel

WHY = registry.get("why")
PID = (1234).to_bytes(4, "little")
ROWS = [
    # class, call, where, kernel, user, time, count, samples
    (
        "disk",
        "fsync",
        "a\n\x1b[31mfile",
        ("schedule", "io_schedule", "do_fsync"),
        ("fsync",),
        600_000_000,
        3,
        0,
    ),
    ("disk", "read", "b", ("schedule", "filemap_read"), ("read",), 100_000_000, 1, 0),
    ("user", None, None, (), (), 300_000_000, 9, 0),
    ("user", None, None, (), ("hot", "main"), 0, 0, 30),
    ("user", None, None, (), ("cold", "main"), 0, 0, 10),
]
PAGE = """\
whole run, 2.0 s
1.000 s of threads, 0.5 at a time

  disk       70.0%   700.000 ms  ############################
  user       30.0%   300.000 ms  ############

disk: 700.000 ms, 4 times
   85.7% fsync a\\n\\x1b[31mfile
   14.3% read b
   85.7% of the time, in
         do_fsync
         fsync
  -> pytracer fsslower -p 1234

user: 300.000 ms, 9 times
   75.0% of the samples, in
         hot
         main
  -> pytracer profile -p 1234
"""


def show(rows, **request):
    plan = make_plan(Request(tracer=WHY, **request), FakeKernel())
    text = io.StringIO()
    sink = make_sink("table", text, timestamps=False, terminal=False)
    sink.open(plan.schema)
    columns = {column.name: [row[n] for row in rows] for n, column in enumerate(plan.schema.columns)}
    sink.emit(StackSnapshot("summary", 0.0, 2.0, columns))
    return text.getvalue()


def test_page():
    assert show(ROWS, filters={Filter.PID: (PID,)}) == PAGE


def test_totals_are_in_seconds():
    counts = {"life_ns": 4_054_728_968, "taken_ns": 15_610_813, "threads": 45}
    totals = Totals(counts, {column.name: column.help for column in WHY.totals}, 0.0)
    taken = "0.016 s of it on CPUs, but taken by interrupts or the hypervisor"
    assert totals.describe() == f"total: 4.055 s that threads were there, {taken}, 45 threads"


def test_nothing_seen():
    assert show([]) == "whole run, 2.0 s\nnothing seen\n"


@pytest.mark.parametrize(
    ("request_of", "target"),
    [
        ({"command": ("make",)}, " -- COMMAND"),
        ({"roots": (12, 34)}, " -p 12,34 --children"),
        ({"filters": {Filter.COMM: (b"make",)}}, ""),
    ],
)
def test_the_next_tracer_is_for_the_same_processes(request_of, target):
    assert f"-> pytracer fsslower{target}\n" in show(ROWS, **request_of)


def test_each_class_has_a_tracer_to_go_on_with_that_filters_by_process():
    steps = dict(WHY.outputs[0].next)
    assert steps.keys() == set(CLASSES)
    for words in steps.values():
        tracer = registry.get(words.split()[0])
        assert Filter.PID in tracer.filters
        assert tracer.follow
