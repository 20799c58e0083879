"""Test plans for returns of programs' functions: which probes on which instructions, and errors."""

from __future__ import annotations

import pytest

from pytracer.errors import UnreadableCodeError, UsageError
from pytracer.kernel.facts import FoundTargets, NamedTarget
from pytracer.lang.probe_spec_parser import parse_trace
from pytracer.plan import make_plan, report_alternatives
from pytracer.plan.attach_targets import supported_alternatives
from pytracer.request import Request
from pytracer.spec import ExitKind, FunctionCode, FunctionExit, Point, ProbeSite, parse_source, registry
from support.fake_kernel import FakeKernel

PROGRAM, LIBRARY = (1, 1, 0), (1, 2, 0)
FUNCTION = Point.PROGRAM | Point.SITE
ENTRY, RETURN = FUNCTION | Point.ENTRY, FUNCTION | Point.RETURN


def site(name, offset, identity=PROGRAM):
    return ProbeSite(name, offset, file=f"/file{identity[1]}", identity=identity)


def end(kind, offset, identity=PROGRAM):
    return FunctionExit(kind, site(f"+{offset:#x}", offset, identity))


CODES = {
    "plain": FunctionCode(0x100, (end(ExitKind.RETURN, 0x110), end(ExitKind.RETURN, 0x120))),
    "other": FunctionCode(0x200, (end(ExitKind.RETURN, 0x210),), restarts=True),
    "jumps": FunctionCode(
        0x300,
        (
            end(ExitKind.RETURN, 0x310),
            end(ExitKind.TAIL_RETURN, 0x910, LIBRARY),
            end(ExitKind.INDIRECT, 0x320),
        ),
    ),
    "main.work": FunctionCode(0x40A, (end(ExitKind.RETURN, 0x410),), goroutine=True, g_offset=-16),
    "leaves": FunctionCode(0x500, ()),
}


class Kernel(FakeKernel):
    """A kernel whose programs have functions that cannot be analyzed."""

    def code(self, site):
        if site.name == "odd":
            raise UnreadableCodeError("no instruction at 0x609")
        return super().code(site)


def kernel(**options):
    starts = {
        "plain": 0x100,
        "other": 0x200,
        "jumps": 0x300,
        "main.work": 0x400,
        "leaves": 0x500,
        "odd": 0x600,
    }
    targets = {
        name: NamedTarget(f"/p:{name}", sites=(site(name, offset),)) for name, offset in starts.items()
    }
    files = {
        f"{kind}:/p:{name}": FoundTargets((target,))
        for kind in ("u", "ur")
        for name, target in targets.items()
    }
    for kind in ("u", "ur"):
        files[f"{kind}:/p:*"] = FoundTargets(tuple(targets.values()))
    return Kernel(named=files, codes=CODES, **options)


def plan_of(tracer, *words, facts=None, **request):
    sources = tuple(map(parse_source, words))
    return make_plan(Request(registry.get(tracer), sources=sources, **request), facts or kernel())


def probes(plan):
    return [
        (c.probe.program, c.probe.kind, c.probe.at, [site.offset for site in c.probe.sites])
        for c in plan.probes
    ]


def test_returns_are_probes_on_the_instructions_that_return():
    assert probes(plan_of("funccount", "ur:/p:plain")) == [("hit", "uprobe_multi", RETURN, [0x110, 0x120])]
    plan = plan_of("funclatency", "u:/p:plain", "u:/p:other")
    assert probes(plan) == [
        ("begins", "uprobe_multi", ENTRY, [0x100]),
        ("begins", "uprobe_multi", ENTRY | Point.REENTERS, [0x200]),
        ("returns", "uprobe_multi", RETURN, [0x110, 0x120, 0x210]),
    ]
    assert [c.probe.targets for c in plan.probes] == [(0,), (1,), (0, 0, 1)]


def test_without_links_each_target_has_its_own():
    plan = plan_of("funclatency", "u:/p:*", facts=kernel(refuses={"uprobe_multi"}), hooks={"u": "uprobe"})
    assert {c.probe.kind for c in plan.probes} == {"uprobe"}
    returns = [c.probe for c in plan.probes if c.probe.program == "returns"]
    assert [(probe.targets, len(probe.sites)) for probe in returns] == [
        ((0, 0), 2),
        ((1,), 1),
        ((2,), 1),
        ((2,), 1),
        ((2,), 1),
        ((3,), 1),
    ]
    assert not any(probe.optional for probe in returns)  # a call that begins must be seen to end


def test_kinds_of_exits_are_distinguished():
    assert probes(plan_of("funclatency", "u:/p:jumps")) == [
        ("begins", "uprobe_multi", ENTRY, [0x300]),
        ("returns", "uprobe_multi", RETURN, [0x310]),
        ("returns", "uprobe_multi", RETURN | Point.TAIL, [0x910]),
        ("returns", "uprobe_multi", RETURN | Point.LOST, [0x320]),
    ]


def test_returns_alone_are_tracked_only_where_a_function_jumps_out():
    plan = plan_of("funccount", "ur:/p:plain", "ur:/p:jumps")
    assert probes(plan)[0] == ("entered", "uprobe_multi", ENTRY, [0x300])
    assert plan.probes[0].probe.targets == (1,)
    assert "PT_TRACKED" in dict(plan.defines)
    assert "PT_TRACKED" not in dict(plan_of("funccount", "ur:/p:plain").defines)


def test_goroutines_begin_behind_the_stack_check():
    begins, returns = plan_of("funclatency", "u:/p:main.work").probes
    assert begins.probe.at == ENTRY | Point.GOROUTINE
    assert returns.probe.at == RETURN | Point.GOROUTINE
    assert (begins.probe.g_offset, returns.probe.g_offset) == (-16, -16)
    [hit] = plan_of("funccount", "u:/p:main.work").probes
    assert ([site.offset for site in hit.probe.sites], hit.probe.at) == ([0x40A], Point.ENTRY | Point.PROGRAM)


def test_a_function_that_never_returns_still_begins():
    assert probes(plan_of("funclatency", "u:/p:leaves")) == [("begins", "uprobe_multi", ENTRY, [0x500])]


def test_probe_specs_on_returns_are_tracked():
    requests = {"probe_specs": (parse_trace("ur:/p:jumps"), parse_trace("ur:/p:plain"))}
    plan = make_plan(Request(registry.get("trace"), **requests), kernel())
    assert [(program, point) for program, _, point, _ in probes(plan)] == [
        ("entry_0", ENTRY),
        ("spec_0", RETURN),
        ("spec_0", RETURN | Point.TAIL),
        ("spec_0", RETURN | Point.LOST),
        ("spec_1", RETURN),
    ]
    assert "PT_SPEC_CALLS" in dict(plan.defines)
    assert "int entry_0(" in plan.generated["generated_specs.h"]
    assert "int entry_1(" not in plan.generated["generated_specs.h"]


def test_code_that_cannot_be_read_is_refused_and_left_out_of_patterns():
    with pytest.raises(UnreadableCodeError, match="/p:odd: no instruction at 0x609") as excinfo:
        plan_of("funclatency", "u:/p:odd")
    assert excinfo.value.exit_code == 4
    assert "--hook ur=uretprobe" in excinfo.value.hint
    plan = plan_of("funclatency", "u:/p:*")
    assert len(plan.targets.names) == 5
    [warning] = plan.targets.warnings
    assert "5 are seen; left out are 1 whose code does not tell where they return: /p:odd" in warning


def test_the_return_probe_is_used_only_if_requested():
    facts = kernel(refuses={"uprobe_multi", "uprobe"})
    with pytest.raises(Exception, match="return-sites-multi, return-sites: refused") as excinfo:
        plan_of("funccount", "ur:/p:plain", facts=facts)
    assert "uretprobe" not in str(excinfo.value)
    plan = plan_of("funclatency", "u:/p:odd", hooks={"ur": "uretprobe"})
    assert probes(plan) == [
        ("begins", "uprobe_multi", Point.ENTRY | Point.PROGRAM, [0x600]),
        ("returns", "uretprobe", Point.RETURN | Point.PROGRAM, [0x600]),
    ]
    [warning] = plan.targets.warnings
    assert warning.startswith("--hook ur=uretprobe: the kernel's return probe overwrites return addresses")


def test_every_alternative_is_reported_with_the_reason_against_it():
    def reported(kind, name):
        facts = kernel()
        [target] = facts.named[f"{kind}:/p:{name}"].targets
        actual = supported_alternatives(parse_source(f"{kind}:/p:{name}"), target, facts)
        return [(alternative, answer.is_supported or answer.reason) for alternative, answer in actual]

    unread = "no instruction at 0x609"
    sites, returns = ("return-sites-multi", "return-sites"), ("uretprobe-multi", "uretprobe")
    assert reported("u", "odd") == [("uprobe-multi", True), ("uprobe", True)]
    assert reported("ur", "plain") == [(alternative, True) for alternative in (*sites, *returns)]
    assert reported("ur", "odd") == [
        *((alternative, unread) for alternative in sites),
        *((alternative, True) for alternative in returns),
    ]


def test_explain_names_the_risk():
    plan = plan_of("funccount", "ur:/p:plain")
    alternatives = {
        alternative.name: alternative
        for alternative in report_alternatives(plan.resolved_hooks[0], plan.request, kernel())
    }
    assert alternatives["return-sites-multi"].is_chosen
    assert "used only if asked for (--hook): the kernel's return probe" in alternatives["uretprobe"].reason


def test_too_many_instructions_are_refused_with_their_number():
    with pytest.raises(
        UsageError, match=r"6 instructions at which calls end, and --max-probes is 5"
    ) as excinfo:
        plan_of("funclatency", *(f"u:/p:{name}" for name in ("plain", "other", "jumps")), max_probes=5)
    assert "--max-probes 6" in excinfo.value.hint
    assert plan_of("funclatency", "u:/p:plain", "u:/p:other", max_probes=5)
