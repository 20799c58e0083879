"""The message that nothing was seen names what may have left it out."""

from __future__ import annotations

import pytest

from pytracer.plan import make_plan
from pytracer.request import NameSetValue, Request
from pytracer.spec import Filter, registry
from pytracer.trace.unseen import reasons
from support.fake_kernel import FakeKernel

NOTHING = "nothing was seen of make and its descendants"


@pytest.mark.parametrize(
    ("tracer", "fields", "left_out"),
    [
        ("syncsnoop", {}, ""),
        ("syncsnoop", {"options": {"failed": False, "min": None}}, ""),
        ("syncsnoop", {"options": {"failed": True, "min": 5}}, ", or --min or --failed left out all of it"),
        ("syscalls", {"options": {"latency": True}}, ""),
        (
            "syscalls",
            {"options": {"calls": NameSetValue((), exclude=False)}},
            ", or --calls left out all of it",
        ),
        ("syscalls", {"filters": {Filter.UID: (bytes(4),)}}, ", or --uid left out all of it"),
    ],
)
def test_filters_that_may_have_excluded_every_event_are_named(tracer, fields, left_out):
    plan = make_plan(Request(registry.get(tracer), command=("make",), **fields), FakeKernel())
    [line] = reasons(plan, ())
    assert line == f"{NOTHING}{left_out}; --load shows all that happens while it runs"


@pytest.mark.parametrize(
    ("roots", "named"), [((12,), "process 12 and its"), ((12, 13), "processes 12, 13 and their")]
)
def test_processes_with_descendants(roots, named):
    plan = make_plan(Request(registry.get("syncsnoop"), roots=roots), FakeKernel())
    assert list(reasons(plan, ())) == [f"nothing was seen of {named} descendants"]
