"""Test sources that users name, and the plans made of them."""

from __future__ import annotations

import struct

import pytest

from pytracer.errors import PolicyError, UnknownNameError, UnsupportedError, UsageError
from pytracer.kernel.facts import FoundTargets, NamedTarget, Support
from pytracer.plan import make_plan
from pytracer.plan.attach_targets import ALTERNATIVES
from pytracer.request import Request
from pytracer.spec import (
    SPELLINGS,
    Filter,
    Kprobe,
    ProbeSite,
    Source,
    Table,
    Targets,
    Tracer,
    parse_source,
    registry,
)
from support.fake_kernel import FakeKernel

FUNCCOUNT = registry.get("funccount")
READ, WRITE = NamedTarget("vfs_read", 0x1000), NamedTarget("vfs_write", 0x2000)
KERNEL = FakeKernel(
    functions={"vfs_read", "vfs_write"},
    patterns={"k:vfs_*"},
    named={
        "k:vfs_*": FoundTargets((READ, WRITE), {"that may not be probed (noprobe)": 3}),
        "k:vfs_read": FoundTargets((READ,)),
        "k:vfs_read+0x10": FoundTargets((READ,)),
        "kr:vfs_read": FoundTargets((READ,)),
        "t:sched:*": FoundTargets((NamedTarget("sched:sched_switch"), NamedTarget("sched:sched_waking"))),
        "rt:sched_switch": FoundTargets((NamedTarget("sched_switch"),)),
    },
)


def plan_of(*words, kernel=KERNEL, tracer=FUNCCOUNT, **request):
    return make_plan(Request(tracer, sources=tuple(map(parse_source, words)), **request), kernel)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("vfs_read", Source("k", "vfs_read")),
        ("k:vfs_*", Source("k", "vfs_*")),
        ("kprobe:vfs_read", Source("k", "vfs_read")),
        ("vfs_read+0x10", Source("k", "vfs_read", offset=16)),
        ("k:vfs_read+12", Source("k", "vfs_read", offset=12)),
        ("kr:x.isra.0", Source("kr", "x.isra.0")),
        ("f:vfs_read", Source("f", "vfs_read")),
        ("fr:vfs_re?d", Source("fr", "vfs_re?d")),
        ("t:block:*", Source("t", "*", place="block")),
        ("tracepoint:sys*:sys_enter_*", Source("t", "sys_enter_*", place="sys*")),
        ("rt:sched_switch", Source("rt", "sched_switch")),
        ("raw:sched_switch", Source("rt", "sched_switch")),
        ("u:libc:malloc", Source("u", "malloc", place="libc")),
        ("uprobe:/usr/bin/a b-c:_ZN*", Source("u", "_ZN*", place="/usr/bin/a b-c")),
        ("u:libc:malloc+0x10", Source("u", "malloc", place="libc", offset=16)),
        ("u:/x:+0x1040", Source("u", "", place="/x", offset=0x1040)),
        ("ur:libssl.so.3:SSL_*", Source("ur", "SSL_*", place="libssl.so.3")),
        ("usdt:python:gc__*", Source("usdt", "gc__*", place="python")),
        ("usdt:/usr/bin/python3:gc__*", Source("usdt", "gc__*", place="/usr/bin/python3")),
        ("usdt:/usr/bin/python3:p*:line", Source("usdt", "line", place="/usr/bin/python3:p*")),
    ],
)
def test_spelling(text, source):
    assert parse_source(text) == source
    assert parse_source(source.text) == source


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=lambda s: s.kind)
def test_examples_are_sources(spelling):
    for example in spelling.example.split(", "):
        assert parse_source(example).kind == spelling.kind


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "there is no name of a function", "k:vfs_read"),
        ("k:", "there is no name of a function", "k:vfs_read"),
        ("k:vfs-read", "'-read' at character 6 is no name of a function", "k:vfs_read"),
        ("k:vfs_read;x", "';x' at character 11", ""),
        ("vfs_read+y", "'+y' at character 9", ""),
        ("vfs_*+4", "goes with one function", ""),
        ("kr:vfs_read+4", "'+4' at character 12", ""),
        ("t:block", "there is no CATEGORY of a trace event", "t:sched:sched_switch"),
        ("t::x", "there is no CATEGORY", ""),
        ("t:a:b:c", "':b:c' at character 4 is no CATEGORY", ""),
        ("block:block_rq_issue", "no kind of source 'block'", "t:block:block_rq_issue"),
        ("x:/y", "no kind of source 'x'", "there is f"),
        ("u:malloc", "there is no FILE of a function", "u:libc:malloc"),
        ("u:lib*:malloc", "'*:malloc' at character 6 is no FILE", ""),
        ("u:libc:", "there is no name of a function", ""),
        ("ur:libc:malloc+4", "'+4' at character 15", ""),
        ("usdt:line", "there is no PROVIDER", "usdt:python:gc__*"),
        ("k:\x1b[2J", "is no name of a function", ""),
    ],
)
def test_invalid_sources(text, message, hint):
    with pytest.raises(UsageError) as excinfo:
        parse_source(text)
    assert message in excinfo.value.message
    assert hint in excinfo.value.hint
    assert excinfo.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "name", "path", "matches"),
    [
        ("t:sch*:sched_*", "sched_switch", "sched", True),
        ("t:sched:*", "x", "schedule", False),
        ("rt:s?s_enter", "sys_enter", "", True),
        ("rt:s?s_enter", "ss_enter", "", False),
        ("k:a.b", "aXb", "", False),
    ],
)
def test_patterns(text, name, path, matches):
    assert parse_source(text).matches(name, path) is matches


# Plans.


def test_the_best_way_to_many_functions_is_one_probe():
    plan = plan_of("vfs_*")
    (chosen,) = plan.probes
    assert chosen.probe.kind == "kprobe_multi"
    assert chosen.probe.addresses == (0x1000, 0x2000)
    assert chosen.probe.targets == (0, 1)
    assert plan.targets.names == ("k:vfs_read", "k:vfs_write")
    assert plan.targets.warnings == ("k:vfs_*: 2 are seen; left out are 3 that may not be probed (noprobe)",)


@pytest.mark.parametrize("forced", [{}, {"k": "kprobe"}])
def test_else_a_probe_for_each(forced):
    kernel = FakeKernel(functions=KERNEL.functions, named=KERNEL.named)
    plan = plan_of("vfs_*", kernel=kernel, hooks=forced)
    assert [(c.probe.kind, c.name, c.probe.targets) for c in plan.probes] == [
        ("kprobe", "vfs_read", (0,)),
        ("kprobe", "vfs_write", (1,)),
    ]
    assert all(chosen.probe.optional for chosen in plan.probes)


def of_file(*names, file="/x", inode=1, sites=1):
    """Return targets in a file, with this many sites each."""
    return tuple(
        NamedTarget(
            f"{file}:{name}",
            sites=tuple(
                ProbeSite(name, n + offset, file=file, identity=(1, inode)) for offset in range(sites)
            ),
        )
        for n, name in enumerate(names)
    )


PROGRAMS = {
    "u:/x:a*": FoundTargets(of_file("a0", "a1")),
    "u:/y:b": FoundTargets(of_file("b", file="/y", inode=2)),
    "usdt:app:go": FoundTargets(
        (
            NamedTarget(
                "app:go", sites=of_file("go", sites=2)[0].sites + of_file("go", file="/y", inode=2)[0].sites
            ),
        )
    ),
}


def test_places_in_programs_are_one_probe_for_each_file():
    plan = plan_of("u:/x:a*", "u:/y:b", "usdt:app:go", kernel=FakeKernel(named=PROGRAMS))
    assert [
        (c.probe.kind, c.probe.file, c.probe.targets, [site.name for site in c.probe.sites])
        for c in plan.probes
    ] == [
        ("uprobe_multi", "/x", (0, 1), ["a0", "a1"]),
        ("uprobe_multi", "/y", (2,), ["b"]),
        ("uprobe_multi", "/x", (3, 3), ["go", "go"]),
        ("uprobe_multi", "/y", (3,), ["go"]),
    ]
    assert plan.targets.names == ("u:/x:a0", "u:/x:a1", "u:/y:b", "usdt:app:go")


def test_or_one_for_each_target_and_file():
    alternatives = {"u": "uprobe", "usdt": "uprobe"}
    plan = plan_of("u:/x:a*", "usdt:app:go", kernel=FakeKernel(named=PROGRAMS), hooks=alternatives)
    assert [(c.probe.kind, c.probe.file, c.probe.targets, c.probe.optional) for c in plan.probes] == [
        ("uprobe", "/x", (0,), True),
        ("uprobe", "/x", (1,), True),
        ("uprobe", "/x", (2, 2), False),
        ("uprobe", "/y", (2,), False),
    ]


def test_a_selected_process_is_the_one_that_is_inspected():
    requests = []

    class Kernel(FakeKernel):
        def find(self, source):
            requests.append((source.kind, source.process))
            return super().find(source)

    kernel = Kernel(named=PROGRAMS | KERNEL.named, patterns=None)
    pids = [struct.pack("I", pid) for pid in (7, 8)]
    plan = plan_of("u:/y:b", "k:vfs_*", kernel=kernel, filters={Filter.PID: tuple(pids[:1])})
    assert requests == [("u", 7), ("k", 0)]
    assert [c.probe.process for c in plan.probes if c.probe.kind == "uprobe_multi"] == [7]
    requests.clear()
    plan_of("u:/y:b", kernel=kernel, filters={Filter.PID: tuple(pids)})
    assert requests == [("u", 0)]
    requests.clear()
    plan = plan_of("u:/y:b", kernel=kernel, viewer=9)  # its files are meant, and all that have them
    assert requests == [("u", 9)]
    assert plan.probes[0].probe.process == 0


def test_a_named_target_is_required_and_has_one_number():
    plan = plan_of("t:sched:*", "k:vfs_*", "k:vfs_read", "rt:sched_switch")
    assert plan.targets.names == (
        "t:sched:sched_switch",
        "t:sched:sched_waking",
        "k:vfs_read",
        "k:vfs_write",
        "rt:sched_switch",
    )
    optional = {chosen.name: chosen.probe.optional for chosen in plan.probes}
    assert optional["sched:sched_waking"]
    assert not optional["sched_switch"]


def test_a_place_within_a_function_is_not_for_kprobe_multi():
    plan = plan_of("vfs_read", "vfs_read+0x10", kernel=FakeKernel(**KERNEL.__dict__ | {"patterns": None}))
    assert [(c.probe.kind, c.name) for c in plan.probes] == [
        ("kprobe_multi", "k:vfs_read"),
        ("kprobe", "vfs_read+0x10"),
    ]
    assert plan.targets.names == ("k:vfs_read", "k:vfs_read+0x10")


NAMED = (["vfs_*"], ["t:sched:*", "k:vfs_read"], ["vfs_read+0x10"])


def test_the_program_does_not_depend_on_the_named_targets():
    images = {plan_of(*words).defines for words in NAMED}
    assert len(images) == 1


def test_addresses_that_are_hidden_stay_so():
    kernel = FakeKernel(named={"k:vfs_read+0x10": FoundTargets((NamedTarget("vfs_read"),))}, patterns=None)
    plan = plan_of("vfs_read+0x10", kernel=kernel, hooks={"k": "kprobe-events"})
    assert [chosen.probe.addresses for chosen in plan.probes] == [(0,)]


BOTH = Tracer(
    name="both",
    group="test",
    summary="",
    description="",
    hooks=(),
    arguments=Targets("PATTERN", "", begin="enter", end="leave"),
    outputs=(Table("rows", ()),),
)
"""One that is put where functions begin and where they return."""


def test_entries_and_returns():
    kernel = FakeKernel(named=KERNEL.named, patterns=None)
    plan = plan_of("vfs_*", tracer=BOTH, kernel=kernel)
    assert [(c.probe.program, c.probe.kind) for c in plan.probes] == [
        ("enter", "kprobe_multi"),
        ("leave", "kretprobe_multi"),
    ]
    with pytest.raises(UsageError, match="needs what begins and returns, not t:sched"):
        plan_of("t:sched:*", tracer=BOTH, kernel=kernel)


def test_an_offset_inside_a_function_has_no_return():
    """A return probe replaces the word that it takes for the return address, which is wrong inside a
    function."""
    kernel = FakeKernel(named={"k:vfs_read+0x10": FoundTargets((READ,))}, patterns=None)
    with pytest.raises(UsageError, match=r"needs what begins and returns, not k:vfs_read\+0x10"):
        plan_of("vfs_read+0x10", tracer=BOTH, kernel=kernel)
    for kind in ("kr", "fr", "ur"):
        assert not any(alternative.offsets for alternative in ALTERNATIVES[kind])


def test_a_pattern_that_matches_too_much():
    with pytest.raises(UsageError, match=r"vfs_\*: 2 to attach to, and --max-probes is 1") as excinfo:
        plan_of("vfs_*", max_probes=1)
    assert "--max-probes 2" in excinfo.value.hint
    assert plan_of("vfs_*", max_probes=2)


def test_missing_names():
    with pytest.raises(UnknownNameError):
        plan_of("k:nothing")
    with pytest.raises(UnsupportedError, match=r"kretprobe-multi: .*kretprobe-events, kretprobe: "):
        plan_of("kr:vfs_read", kernel=FakeKernel(named=KERNEL.named))


def test_a_hook_is_forced_by_the_kind_of_source():
    with pytest.raises(UnknownNameError, match="no hook 'f'"):
        plan_of("vfs_*", hooks={"f": "fentry"})
    with pytest.raises(UnknownNameError, match="no alternative of hook k 'fast'"):
        plan_of("vfs_*", hooks={"k": "fast"})


def test_each_offset_within_a_function_is_probed():
    """The result for one offset does not hold for another, which may be inside an instruction."""

    class Picky(FakeKernel):
        def probe(self, probe):
            answer = super().probe(probe)
            odd = isinstance(probe, Kprobe) and probe.offset % 2
            return Support(False, reason="no instruction begins there") if odd else answer

    targets = {f"k:vfs_read+{n:#x}": FoundTargets((NamedTarget("vfs_read"),)) for n in (4, 5)}
    kernel = Picky(named=targets, functions={"vfs_read"}, patterns=set(), refuses={"kprobe_events"})
    with pytest.raises(PolicyError, match="no instruction begins there"):
        plan_of("k:vfs_read+4", "k:vfs_read+5", kernel=kernel)
    plan_of("k:vfs_read+4", kernel=kernel)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("u:redis-server", "u:redis-server:FUNCTION or u:FILE:redis-server"),
        ("redis-server:call", "a function of a program is written u:redis-server:call"),
        ("/usr/bin/bash:main", "a function of a program is written u:/usr/bin/bash:main"),
        ("bash:main", "t:bash:main, a function of a program is written u:bash:main"),
    ],
)
def test_near_names_are_suggested(text, hint):
    with pytest.raises(UsageError) as excinfo:
        parse_source(text)
    assert hint in excinfo.value.hint
