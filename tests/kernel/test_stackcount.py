"""Test stackcount on a workload of the test's own: each call is counted with the calls that led to it."""

from __future__ import annotations

import re

import pytest

from pytracer.plan.attach_targets import ALTERNATIVES
from pytracer.plan.named_target import IN_PROGRAMS
from support.cli import finish, run, start
from support.needs import running, was_refused
from support.uprobes import Program
from support.workloads import workload

pytestmark = pytest.mark.kernel

CALLS = 23
FUNCTION = "__x64_sys_close"
NAMES = dict.fromkeys(("k", "kr", "f", "fr"), FUNCTION) | {"t": "raw_syscalls:sys_enter", "rt": "sys_enter"}
EVERY = [
    (kind, alternative.name)
    for kind, alternatives in ALTERNATIVES.items()
    for alternative in alternatives
    if kind != "lsm"  # test_lsm.py
]
OUTER, OTHER = ("middle", "outer", "main"), ("other", "main")
BOTH = {OUTER: CALLS, OTHER: CALLS + 1}


def stacks(result):
    """Return how often each pair of stacks was seen."""
    assert result.status == 0, result.err
    assert not result.of("loss")
    return {(tuple(r["kernel"]), tuple(r["user"])): r["hits"] for r in result.of("summary")}


def of_a_process(*words):
    """Trace a process that waits before it works, so that it is known before it ends."""
    with Program(workload("stacked"), CALLS) as program:
        return program.seen_by("stackcount", *words)


@pytest.mark.lab
@pytest.mark.parametrize(
    ("kind", "alternative"), [pair for pair in EVERY if pair[0] not in IN_PROGRAMS], ids=lambda value: value
)
def test_the_kernels_part_by_every_alternative(kind, alternative):
    """The stack begins with the function or with the address it returned to, without the tracer's own
    frames."""
    command = ["--", workload("calls"), "fail", CALLS]
    words = ["-K", "--hook", f"{kind}={alternative}", f"{kind}:{NAMES[kind]}"]
    result = run("stackcount", "-f", "json", *words, *command)
    if was_refused(result, {kind: alternative}):
        return
    counts = stacks(result)
    assert all(kernel and not user for kernel, user in counts)
    # Of the events of single calls older kernels have no part of their own: these two see all calls.
    assert sum(counts.values()) > CALLS if kind in ("t", "rt") else sum(counts.values()) == CALLS
    if kind == "kr" and running().excuse("stacks of kretprobes"):
        assert {kernel for kernel, _ in counts} == {("kretprobe_trampoline",)}
        return
    for kernel, _ in counts:
        assert "do_syscall_64" in kernel
        assert not any(re.match("bpf_|__traceiter|perf_", name) for name in kernel), kernel
        if kind in ("k", "f"):
            assert kernel[0] == FUNCTION


@pytest.mark.lab
@pytest.mark.parametrize(
    ("kind", "alternative"), [pair for pair in EVERY if pair[0] in IN_PROGRAMS], ids=lambda value: value
)
def test_the_programs_part_by_every_alternative(kind, alternative):
    """All callers are known, also the caller of a function that has set up no frame yet."""
    file = workload("stacked")
    name = f"usdt:{file}:forms:leaf" if kind == "usdt" else f"{kind}:{file}:leaf"
    result = of_a_process("--hook", f"{kind}={alternative}", name)
    if was_refused(result, {kind: alternative}):
        return
    counts = {user: count for (_, user), count in stacks(result).items()}
    start = () if alternative.startswith("uretprobe") else ("leaf",)  # which has returned by then
    assert {user[: len(start) + 3]: count for user, count in counts.items() if "outer" in user} == {
        (*start, *OUTER): CALLS
    }
    assert {user[: len(start) + 2]: count for user, count in counts.items() if "outer" not in user} == {
        (*start, *OTHER): CALLS + 1
    }


@pytest.mark.lab
@pytest.mark.smoke
def test_an_event_of_the_kernel_has_both_parts():
    result = of_a_process("t:raw_syscalls:sys_enter")
    calls = [record for record in result.of("summary") if "leaf" in record["user"]]
    assert sorted(record["hits"] for record in calls) == [CALLS, CALLS + 1]
    for record in calls:
        assert "do_syscall_64" in record["kernel"]
        callers = tuple(record["user"][record["user"].index("leaf") + 1 :])
        assert callers[:2] == ("middle", "outer") or callers[:1] == ("other",)


def test_targets_and_names_are_the_roots_of_folded_stacks():
    file = workload("stacked")
    words = [f"u:{file}:middle", f"u:{file}:other", "--by", "target,comm", "-f", "folded"]
    with Program(file, CALLS) as program:
        tracer = start("stackcount", "-p", program.pid, *words)
        program.go()
        program.process.wait()
        result = finish(tracer)
    assert re.search(rf"^u:{file}:middle;stacked;.*main;outer;middle {CALLS}$", result.out, re.M), result.out
    assert re.search(rf"^u:{file}:other;stacked;.*main;other {CALLS + 1}$", result.out, re.M), result.out


def test_stacks_of_one_part_are_one_row_for_all_processes():
    script = f"{workload('calls')} getppid {CALLS}; {workload('calls')} getppid {CALLS}"
    words = ["t:syscalls:sys_enter_getppid", "--comm", "calls", "--", "sh", "-c", script]
    once = run("stackcount", "-K", "-f", "json", *words)
    assert [record["hits"] for record in once.of("summary")] == [2 * CALLS]
    by_pid = run("stackcount", "-K", "-f", "json", "--by", "pid", *words)
    assert [record["hits"] for record in by_pid.of("summary")] == [CALLS, CALLS]


def test_stacks_that_do_not_fit_are_lost():
    with Program(workload("stacked"), CALLS) as program:
        words = [f"u:{workload('stacked')}:*", "t:syscalls:*close", "--max-stacks", 1, "--strict"]
        result = program.seen_by("stackcount", *words)
    assert result.status == 3
    shown_hits, lost = (
        sum(r[column] for r in result.of(kind)) for kind, column in (("summary", "hits"), ("loss", "lost"))
    )
    assert lost > 0
    assert shown_hits + lost >= 2 * (2 * CALLS + 1)


def test_inlined_functions_are_frames_of_their_own():
    file = workload("inlined")
    with Program(file, CALLS) as program:
        result = program.seen_by("stackcount", "-U", "--inlines", f"u:{file}:leaf")
    counts = {user[: user.index("main") + 1]: hits for (_, user), hits in stacks(result).items()}
    if running().excuse("stacks by tables"):
        return
    assert counts == {
        ("leaf", "innermost (inlined)", "between (inlined)", "outer", "main"): CALLS,
        ("leaf", "innermost (inlined)", "looped", "main"): CALLS,
    }
    with Program(file, CALLS) as program:
        plain = program.seen_by("stackcount", "-U", f"u:{file}:leaf")
    assert not any("(inlined)" in name for _, user in stacks(plain) for name in user)
