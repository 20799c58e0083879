"""Test the kinds of targets and the locations of USDT arguments, as the C reads them."""

from __future__ import annotations

import struct

import pytest

from pytracer.errors import UnsupportedError, UsageError
from pytracer.kernel.facts import FoundTargets, NamedTarget
from pytracer.plan import make_plan
from pytracer.plan.named_target import NumberedTarget, encode_kinds, split_sites, usdt_arguments
from pytracer.record import replace
from pytracer.request import Request
from pytracer.spec import Filter, ProbeSite, Source, Table, Targets, Tracer, parse_source
from pytracer.spec.user_probes import SiteArgument
from support.fake_kernel import FakeKernel

LOCATION = SiteArgument(8, b"\x07" * 16)
SITES = tuple(
    ProbeSite("go", offset, file="/x", identity=(1, 1, 0), arguments=(LOCATION,)) for offset in (3, 5)
)
WANTED = Targets(
    "PATTERN",
    "",
    begin="enter",
    end="leave",
    mark="marked",
    minimum=0,
    default=("usdt:app:go", "u:/x:f", "u:/y:g"),
    kinds=("go", "f", "_Zg*"),
    wanted="a server with probes",
)
TRACER = Tracer(
    name="wants",
    group="test",
    summary="",
    description="",
    hooks=(),
    arguments=WANTED,
    outputs=(Table("rows", ()),),
)
NAMED = {
    "usdt:app:go": FoundTargets((NamedTarget("app:go", sites=SITES),)),
    "u:/x:f": FoundTargets((NamedTarget("/x:f", sites=(ProbeSite("f", 9, file="/x", identity=(1, 1, 0)),)),)),
}


def numbered(*names: str) -> list[NumberedTarget]:
    return [NumberedTarget(number, Source("u", name), NamedTarget(name)) for number, name in enumerate(names)]


def plan_of(kernel, *pids: int):
    filters = {Filter.PID: tuple(struct.pack("I", pid) for pid in pids)} if pids else {}
    sources = tuple(map(parse_source, WANTED.default))
    return make_plan(Request(TRACER, sources=sources, filters=filters), kernel)


def test_kinds_are_the_places_of_names_from_one_on():
    assert encode_kinds(("a", "b"), numbered("/x:b", "/x:a@@V1")) == "0x102ULL"
    assert encode_kinds(("a", "b*"), numbered(*["/x:a"] * 8, "/y:bcd")) == "0x101010101010101ULL, 0x2ULL"
    with pytest.raises(UsageError, match="/x:bcd: what that function does is not known"):
        encode_kinds(("a", "b"), numbered("/x:bcd"))
    with pytest.raises(UsageError, match="49 functions"):
        encode_kinds(("a",), numbered(*["a"] * 49))


def test_each_site_of_a_probe_has_its_own_arguments():
    target = NumberedTarget(0, Source("usdt", "go", place="app"), NamedTarget("app:go", sites=SITES))
    found = list(split_sites("usdt", [target]))
    assert [one.target.sites for one in found] == [(SITES[0],), (SITES[1],)]
    assert list(split_sites("u", [target])) == [target]
    assert usdt_arguments([target]) == {0: b"\x07" * 16 + bytes(11 * 16)}


def test_probes_have_a_program_of_their_own_among_functions():
    plan = plan_of(FakeKernel(named=NAMED))
    assert [(chosen.probe.program, chosen.probe.targets) for chosen in plan.probes] == [
        ("marked", (0, 1)),
        ("enter", (2,)),
        ("leave", (2,)),
    ]
    assert list(plan.targets.usdt_arguments) == [0, 1]
    assert dict(plan.defines)["PT_KINDS"] == "0x20101ULL"
    assert dict(plan.defines)["PT_USDT_SITES"] == dict(plan.defines)["PT_TARGETS"]


def test_what_the_traced_processes_do_not_run_is_left_out_or_refused():
    class Kernel(FakeKernel):
        def maps_file(self, pids, identity):
            assert identity == (1, 1, 0)
            return 7 in pids

    assert plan_of(Kernel(named=NAMED), 7, 8).probes
    with pytest.raises(UnsupportedError, match="nothing to trace: ") as raised:
        plan_of(Kernel(named=NAMED), 8)
    assert raised.value.hint == "a server with probes"
    with pytest.raises(UnsupportedError, match="nothing to trace"):
        plan_of(FakeKernel())


def test_a_part_that_is_missing_is_said_and_a_file_that_is_missing_is_not():
    assert plan_of(FakeKernel(named=NAMED)).targets.warnings == ()
    wanted = replace(WANTED, default=("u:/x:f", "u:/x:h"))
    request = Request(replace(TRACER, arguments=wanted), sources=tuple(map(parse_source, wanted.default)))
    [warning] = make_plan(request, FakeKernel(named=NAMED)).targets.warnings
    assert warning.startswith("u:/x:h: ")
    assert warning.endswith("; not all is seen")
