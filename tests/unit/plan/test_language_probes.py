"""Test plans at the USDT probes of languages' runtimes."""

from __future__ import annotations

import struct

import pytest

from pytracer.errors import UnsupportedError, UsageError
from pytracer.kernel.facts import FoundTargets, NamedTarget, ProcessStart
from pytracer.plan import make_plan
from pytracer.request import build_request
from pytracer.spec import ProbeSite, SiteArgument, registry
from pytracer.spec.languages import LANGUAGES
from pytracer.symbols.usdt_args import SIZE, UsdtArgument
from support.fake_kernel import FakeKernel

LANGGC = registry.get("langgc")


def argument(base):
    return SiteArgument(4, UsdtArgument(base=base, size=4).pack())


def named(name, *sites, file="/usr/bin/python3"):
    return NamedTarget(
        name, sites=tuple(ProbeSite(name, offset, 0, file=file, arguments=args) for offset, args in sites)
    )


PYTHON = FoundTargets(
    (
        named("python:gc__start", (16, (argument(40),))),
        named("python:gc__done", (32, (argument(48),)), (48, (argument(56),))),
        named("python:line", (64, ())),
    )
)


def plan_of(*words, kernel, **fields):
    return make_plan(build_request(LANGGC, words, **fields), kernel)


def locations(plan, number):
    """Return the locations of the first arguments of a target, as the C reads them."""
    packed = plan.targets.usdt_arguments[number]
    return [struct.unpack("=qHHBBBB", packed[at * SIZE : (at + 1) * SIZE]) for at in range(4)]


def test_sites_have_their_arguments_in_the_order_of_the_c():
    plan = plan_of(kernel=FakeKernel(named={"usdt:python:*": PYTHON}))
    assert plan.targets.names == ("usdt:python:gc__start", *2 * ("usdt:python:gc__done",))
    [begin] = [chosen.probe for chosen in plan.probes if chosen.probe.program == "begins"]
    [end] = [chosen.probe for chosen in plan.probes if chosen.probe.program == "ends"]
    assert (begin.targets, end.targets) == ((0,), (1, 2))
    assert [site.offset for site in end.sites] == [32, 48]
    language, label, labels, detail = locations(plan, 0)
    assert (language[0], label[0], labels[0]) == (0, 0, 3)
    assert {place[1] for place in (language, label, labels)} == {0xFFFF}
    assert detail[1] == 40
    assert [place[5] for place in locations(plan, 1)] == [8, 8, 8, 0]  # sizes: the last is missing
    assert dict(plan.defines)["PT_USDT_SITES"] == dict(plan.defines)["PT_TARGETS"]


def test_a_build_without_the_probes():
    found = FoundTargets((named("python:line", (64, ())), named("python:gc__start", (16, ()))))
    with pytest.raises(UnsupportedError, match="this build of CPython lacks the probes gc__done"):
        plan_of(kernel=FakeKernel(named={"usdt:python:*": found}))


def test_nothing_is_found():
    with pytest.raises(UsageError):
        plan_of(kernel=FakeKernel())


@pytest.mark.parametrize(
    ("file", "message", "hint"),
    [
        (
            "/opt/python3.12",
            "python3: this CPython (/opt/python3.12) has no USDT probes: it was built without --with-dtrace",
            "distributions' python3 has them",
        ),
        (
            "/usr/bin/node",
            "python3: Node.js (/usr/bin/node) has no probes for this",
            "languages that have: python, ruby, java",
        ),
    ],
)
def test_a_command_whose_runtime_has_none(file, message, hint):
    """Those of other runtimes that run now are no substitute."""
    kernel = FakeKernel(named={"usdt:python:*": PYTHON}, starts={0: ProcessStart((file, "/lib/libc.so.6"))})
    with pytest.raises(UnsupportedError) as error:
        plan_of(kernel=kernel, command=("python3", "-c", "1"))
    assert (error.value.message, error.value.hint) == (message, hint)


def test_a_command_is_searched_in_its_own_files():
    kernel = FakeKernel(
        named={"usdt:/opt/libpython3.12.so:python:*": PYTHON, "usdt:python:*": FoundTargets(())},
        starts={0: ProcessStart(("/opt/python3.12", "/opt/libpython3.12.so"))},
    )
    assert len(plan_of(kernel=kernel, command=("python3",)).targets.names) == 3
    # A command that is only the load is not what is traced, and a shell may start anything.
    for fields in ({"command": ("python3",), "load": True}, {"command": ("sh",)}):
        other = FakeKernel(
            named={"usdt:python:*": PYTHON},
            starts={0: ProcessStart(("/opt/python3.12",) if "load" in fields else ("/bin/sh",))},
        )
        assert len(plan_of(kernel=other, **fields).targets.names) == 3


LANGCALLS = registry.get("langcalls")


def calls_of(found, *words, tracer=LANGCALLS, **fields):
    kernel = FakeKernel(named=dict.fromkeys(("usdt:python:*", "usdt:ruby:*", "usdt:php:*"), found))
    return make_plan(build_request(tracer, words, **fields), kernel)


def python_files(*files):
    """Return the probes of calls in files; the semaphores of lines are 7."""
    names = ("function__entry", "function__return", "line", "import__find__load__done")
    return FoundTargets(
        tuple(
            NamedTarget(
                f"python:{name}",
                sites=tuple(
                    ProbeSite(name, 16 * at, 7 if name == "line" else at, file=file, identity=(0, number, 0))
                    for number, file in enumerate(files)
                ),
            )
            for at, name in enumerate(names, 1)
        )
    )


def test_a_probe_that_another_one_enables():
    """The other one is wanted, by its semaphore, where nothing passes."""
    plan = calls_of(python_files("/usr/bin/python3.11", "/usr/bin/python3.10"), "python")
    programs = {
        program: [
            (site.file, site.offset, site.semaphore)
            for chosen in plan.probes
            if chosen.probe.program == program
            for site in chosen.probe.sites
        ]
        for program in ("begins", "ends", "enables")
    }
    assert programs == {
        "begins": [("/usr/bin/python3.11", 16, 1), ("/usr/bin/python3.10", 16, 1)],
        "ends": [],
        "enables": [("/usr/bin/python3.11", 65, 7)],
    }
    timed = calls_of(python_files("/usr/bin/python3.10"), "python", options={"latency": True})
    assert {chosen.probe.program for chosen in timed.probes} == {"begins", "ends"}


def test_python_without_probes_of_functions():
    with pytest.raises(UnsupportedError, match="lacks the probes function__entry") as error:
        calls_of(FoundTargets((named("python:gc__start", (16, ())),)), "python")
    assert error.value.hint.startswith("CPython 3.12 to 3.14 have no probes of functions")


def test_a_caveat_and_a_language_that_lacks_probes():
    found = FoundTargets(
        tuple(named(f"ruby:{name}", (16, ())) for name in ("method__entry", "cmethod__entry"))
    )
    plan = calls_of(found, "ruby", "python")
    assert [warning.partition(":")[0] for warning in plan.targets.warnings] == [
        "ruby",
        "this build of CPython lacks the probes function__entry",
    ]


@pytest.mark.parametrize(
    ("words", "environment", "refused"),
    [
        (("java", "Main"), {}, True),
        (("java", "-XX:+ExtendedDTraceProbes", "Main"), {}, False),
        (("java", "-XX:+DTraceMethodProbes", "Main"), {}, False),
        (("java", "Main"), {"JAVA_TOOL_OPTIONS": "-Xint -XX:+ExtendedDTraceProbes"}, False),
        (("java", "Main"), {"JAVA_TOOL_OPTIONS": "-XX:+ExtendedDTraceProbes 'open"}, False),
        (("java", "@file", "Main"), {}, None),
    ],
)
def test_how_a_jvm_was_started(words, environment, refused):
    found = FoundTargets((named("hotspot:method__entry", (16, ())),))
    kernel = FakeKernel(
        named={"usdt:/opt/libjvm.so:hotspot:*": found},
        starts={0: ProcessStart(("/opt/libjvm.so",), words, environment)},
    )
    request = build_request(LANGCALLS, command=words)
    if refused:
        with pytest.raises(UnsupportedError, match="only if it is started with -XX"):
            make_plan(request, kernel)
    else:
        warnings = make_plan(request, kernel).targets.warnings
        assert bool(warnings) == (refused is None)


def test_how_php_was_started():
    found = FoundTargets((named("php:function__entry", (16, ())),))
    for variable, is_refused in (("", True), ("0", True), ("1", False)):
        kernel = FakeKernel(
            named={"usdt:/usr/bin/php8.2:php:*": found},
            starts={0: ProcessStart(("/usr/bin/php8.2",), ("php",), {"USE_ZEND_DTRACE": variable})},
        )
        request = build_request(LANGCALLS, command=("php",))
        if is_refused:
            with pytest.raises(UnsupportedError, match="USE_ZEND_DTRACE=1 in its environment"):
                make_plan(request, kernel)
        else:
            assert make_plan(request, kernel).targets.names == ("usdt:php:function__entry",)


def test_what_lacks_is_left_out_where_that_is_declared():
    langstat = registry.get("langstat")
    found = FoundTargets((named("hotspot:method__entry", (16, ())), named("hotspot:gc__end", (32, ()))))
    kernel = FakeKernel(
        named={"usdt:/opt/libjvm.so:hotspot:*": found},
        starts={0: ProcessStart(("/opt/libjvm.so",), ("java", "Main"))},
    )
    plan = make_plan(build_request(langstat, command=("java", "Main")), kernel)
    assert plan.targets.names == ("usdt:hotspot:gc__end",)
    assert plan.targets.warnings == (
        "java: the JVM raises method__entry only if it is started with -XX:+ExtendedDTraceProbes",
        "this build of the JVM lacks the probes object__alloc",
    )


def test_every_language_can_be_looked_for():
    for language in LANGUAGES:
        assert language.source().text == f"usdt:{language.provider}:*"
