"""Test funccount on a workload of the test's own: whatever is named is counted to the last call, by every
way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pytracer.plan.attach_targets import ALTERNATIVES
from pytracer.plan.named_target import IN_PROGRAMS
from pytracer.spec import SPELLINGS
from support.cli import run, start
from support.needs import DEBIANS, was_refused
from support.trace_events import trace_events
from support.workloads import workload

pytestmark = pytest.mark.kernel

CALLS = 23
# Of the kernel; those in programs are in test_funccount_programs.py, security hooks in test_lsm.py.
EVERY = [
    (kind, alternative.name)
    for kind, alternatives in ALTERNATIVES.items()
    for alternative in alternatives
    if kind not in IN_PROGRAMS and kind != "lsm"
]
FUNCTION = "__x64_sys_close"  # with an argument: one that does not use it may be missing from BTF
NAMES = dict.fromkeys(("k", "kr", "f", "fr"), FUNCTION) | {"t": "syscalls:sys_enter_close", "rt": "sys_enter"}


def count_calls(*words, script="", options=()):
    """Return the counts of a workload by target; None if this kernel refuses and may do so."""
    command = ["--", workload("calls"), "fail", str(CALLS)] if not script else ["--", "sh", "-c", script]
    result = run("funccount", "-f", "json", *options, *words, *command)
    hooks = dict(option.split("=") for option in options if "=" in option)
    if was_refused(result, hooks):
        return None
    assert result.status == 0, result.err
    assert not result.of("loss")
    return {record["target"]: record["count"] for record in result.of("summary")}


@pytest.fixture(autouse=True)
def _no_event_is_left():
    yield
    assert not trace_events()


@pytest.mark.lab
@pytest.mark.parametrize(("kind", "alternative"), EVERY, ids=lambda value: value)
def test_every_alternative_counts_to_the_last_call(kind, alternative):
    name = NAMES[kind]
    counts = count_calls(f"{kind}:{name}", options=["--hook", f"{kind}={alternative}"])
    if counts is None:
        return
    expected = CALLS
    if kind == "rt":  # every system call: of those there are more, and as many for each run
        assert counts == count_calls(f"{kind}:{name}", options=["--hook", f"{kind}={alternative}"])
        assert counts[f"rt:{name}"] >= CALLS
        expected = counts[f"rt:{name}"]
    assert counts == {f"{kind}:{name}": expected}


@pytest.mark.lab
@pytest.mark.smoke
def test_many_of_several_kinds_at_once():
    """Patterns and single names: the count of each target is known."""
    script = f"{workload('calls')} sleep 7; {workload('calls')} signal 5"
    counts = count_calls(
        "t:syscalls:sys_exit_ki??", "t:syscalls:sys_enter_*sleep", "rt:sched_process_f*k", script=script
    )
    assert counts == {
        "t:syscalls:sys_enter_nanosleep": 7,
        "t:syscalls:sys_exit_kill": 5,
        "rt:sched_process_fork": 2,
    }


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ["kprobe-multi", "kprobe", "kprobe-events"])
def test_functions_by_pattern(alternative):
    script = f"{workload('calls')} getppid {CALLS}; {workload('calls')} signal 5"
    counts = count_calls(
        "__x64_sys_getpp*d", "k:__x64_sys_kill", options=["--hook", f"k={alternative}"], script=script
    )
    if counts is None:
        return
    assert counts["k:__x64_sys_getppid"] >= CALLS  # the shell's own, if any, are the same each time
    assert counts["k:__x64_sys_kill"] == 5
    assert set(counts) == {"k:__x64_sys_getppid", "k:__x64_sys_kill"}


@pytest.mark.lab
def test_a_place_within_a_function():
    within_instruction = run("funccount", "--dry-run", "--hook", "k=kprobe", f"{FUNCTION}+1")
    assert within_instruction.status == 4, within_instruction.out
    if not DEBIANS and "no kprobes" in within_instruction.err:
        return
    assert f"no instruction begins at {FUNCTION}+0x1" in within_instruction.err
    events = run("funccount", "--dry-run", "--hook", "k=kprobe-events", f"{FUNCTION}+1")
    assert (events.status, f"no instruction begins at {FUNCTION}+0x1" in events.err) == (4, True)
    beyond_function = run("funccount", "--dry-run", f"{FUNCTION}+100000")
    assert beyond_function.status == 2, beyond_function.err
    assert "bytes long" in beyond_function.err
    # Behind what calls the tracer, five bytes, which ENDBR may stand before, four.
    later_offset = (
        offset for offset in (9, 5) if run("funccount", "--dry-run", f"{FUNCTION}+{offset}").status == 0
    )
    offset = next(later_offset)
    for alternative in ("kprobe", "kprobe-events"):
        counts = count_calls(f"{FUNCTION}+{offset}", options=["--hook", f"k={alternative}"])
        assert counts == {f"k:{FUNCTION}+{offset:#x}": CALLS}


@pytest.mark.lab
def test_calls_are_counted_by_thread_name_and_process():
    script = f"{workload('calls')} getppid {CALLS}; {workload('calls')} getppid {CALLS}"
    words = ["t:syscalls:sys_enter_getppid", "--", "sh", "-c", script]
    by_thread = {}
    for key in ("comm,target", "pid"):
        result = run("funccount", "-f", "json", "--by", key, *words)
        assert result.status == 0, result.err
        by_thread[key] = result.of("summary")
    calls = [record for record in by_thread["comm,target"] if record["comm"] == "calls"]
    assert [record["count"] for record in calls] == [2 * CALLS]
    pids = [record["count"] for record in by_thread["pid"] if record["comm"] == "calls"]
    assert pids == [CALLS, CALLS]


def test_a_filter_and_an_interval():
    code = "import os, sys\nprint(flush=True)\nsys.stdin.readline()\n"
    code += f"for _ in range({CALLS}): os.getppid()\n"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        tracer = start("funccount", "-f", "json", "t:syscalls:sys_enter_getppid", "-p", process.pid, 60)
        process.communicate("\n")
        out, err = tracer.communicate(timeout=60)
    assert tracer.returncode == 0, err
    assert out.count(f'"count":{CALLS}') + out.count(f'"count": {CALLS}') == 2  # the interval, and the run


def test_another_target_needs_no_compiler():
    command = ["--", workload("calls"), "getppid", "1"]
    assert run("funccount", "t:syscalls:sys_enter_getppid", *command).status == 0
    second_run = run("funccount", "-v", "rt:sys_exit", "t:sched:sched_process_*", *command)
    assert "the cached image" in second_run.err


@pytest.mark.lab
@pytest.mark.alone  # the next run of another test would take away what tracefs keeps
def test_a_killed_tracer_leaves_nothing():
    event_alternatives = {"k": "kprobe-events", "kr": "kretprobe-events"}
    words = [f"{kind}:{FUNCTION}" for kind in event_alternatives]
    hooks = [
        word
        for kind, alternative in event_alternatives.items()
        for word in ("--hook", f"{kind}={alternative}")
    ]
    if run("funccount", "--dry-run", *words, *hooks).status:
        words, hooks = ["t:sched:sched_process_*", "rt:sched_switch"], []
    tracer = start("funccount", *hooks, *words, "60")
    os.kill(tracer.pid, signal.SIGKILL)
    tracer.communicate()
    # What tracefs keeps is disarmed, and the next run takes it away.
    assert len(trace_events()) == len(hooks) // 2
    if hooks:
        assert count_calls(*words, options=hooks) == dict.fromkeys(words, CALLS)


def test_one_pack_serves_any_source(tmp_path):
    pack, command = tmp_path / "count.pack", ["--", workload("calls"), "fail", CALLS]
    packing = run("pack", "funccount t:x:y -- true", "-o", pack)
    assert packing.status == 0, packing.err
    for name in ("t:syscalls:sys_enter_close", "t:syscalls:sys_exit_cl*e"):
        result = run("run", pack, "funccount", "-f", "json", name, *command)
        assert result.status == 0, result.err
        assert [record["count"] for record in result.of("summary")] == [CALLS]


def test_every_kind_of_source_is_tried():
    assert {*NAMES, *IN_PROGRAMS, "lsm"} == set(ALTERNATIVES) == set(SPELLINGS)
