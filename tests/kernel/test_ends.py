"""Test that nothing of a trace stays, however it ends, for each kind of hook that tracers use.

After SIGKILL only objects stay that the kernel frees by itself, or that the next run removes. Where attaching
fails, nothing is left at once, and that is said in a line. (A normal end is what every other test has.) That
no program and no map is left is looked at after each kernel test: tests/conftest.py.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from resource import RLIMIT_NOFILE, setrlimit

import pytest
from lab.guest.survey import HookUse, hooks_of

from pytracer.bpf.attach import cgroup_skb, cgroup_sock, cgroup_sock_addr
from pytracer.errors import PolicyError
from pytracer.prog.leftovers import find_leftovers
from pytracer.spec import Alternative, OnCgroup, TaskSample, Tracer, registry
from pytracer.spec.calls import needs_names
from pytracer.spec.common import FOLLOW
from support import packets
from support.cgroups import cgroup, programs_on
from support.cli import finish, run, start
from support.needs import refused_by_right
from support.trace_events import trace_events

# What a killed process leaves is the whole machine's, and so is the sweep of it.
pytestmark = [pytest.mark.kernel, pytest.mark.alone]
LEFT_ALONE = {
    "override",  # keeps functions from running, like the next two: tests/kernel/test_inject.py
    "modify_return",
    "lsm",
    "iterator",  # is over before it could be killed: tests/kernel/test_openfiles.py
}


def of_each_kind() -> Iterator[object]:
    """Yield the first tracer, hook and alternative for each kind of probe, or combination of kinds."""
    kinds_done = set[frozenset[str]]()
    for tracer in sorted(registry.all_tracers(), key=lambda tracer: tracer.name not in PLAIN):
        for use in (use for use in hooks_of(tracer) if use.hook != FOLLOW):
            for alternative in use.hook.alternatives:
                kinds = frozenset(probe.kind for probe in alternative.probes)
                if (
                    kinds
                    and not needs_names(alternative)
                    and not kinds & LEFT_ALONE
                    and kinds not in kinds_done
                ):
                    kinds_done.add(kinds)
                    marks = [pytest.mark.lab] if kinds <= IN_THE_LAB else []
                    yield pytest.param(tracer, use, alternative, id="+".join(sorted(kinds)), marks=marks)


CGROUP_POINTS = (cgroup_skb.POINTS, cgroup_sock.POINTS, cgroup_sock_addr.POINTS)
TRIES = 2
IN_THE_LAB = {
    "kprobe", "kretprobe", "kprobe_multi", "kretprobe_multi", "kprobe_events", "kretprobe_event",
    "fentry", "fexit", "clsact", "cgroup_skb_attach",
}  # fmt: skip
"""What not every kernel grants, and what older ones do in a way of their own."""
PLAIN = ("funccount", "sockcount")
"""Those that stand on few kinds at once, and on all alternatives of them."""
EACH_KIND = pytest.mark.parametrize(("tracer", "use", "alternative"), list(of_each_kind()))


@pytest.fixture
def words(tracer: Tracer, use: HookUse, alternative: Alternative) -> Iterator[list[str]]:
    """Yield the command, in a network and a cgroup of its own; [] if the kernel may lack the alternative."""
    command = [tracer.name, *use.arguments, "--hook", f"{use.hook.name}={alternative.name}"]
    with packets.namespace(), cgroup() as folder:
        if any(isinstance(probe, OnCgroup) for probe in alternative.probes):
            command += ["--cgroup", str(folder)]
        if isinstance(alternative.probes[0], TaskSample):
            command += ["-p", str(os.getpid())]
        planned = run(*command, "--dry-run")
        by_policy = planned.status == PolicyError.exit_code and "by a policy of the kernel" in planned.err
        if by_policy or refused_by_right(planned.status, planned.err, {use.hook.name: alternative.name}):
            command = []
        yield command
        assert trace_events() == []
        assert all(programs_on(folder, points) == dict.fromkeys(points, ()) for points in CGROUP_POINTS)


@EACH_KIND
def test_leftovers_of_a_killed_trace_are_removed_by_the_next_run(words):
    if not words:
        return
    tracer = start(*words, "-d", 60)
    tracer.kill()
    tracer.communicate()
    assert run(*words, "-d", 0.1).status == 0


@EACH_KIND
def test_leftovers_of_a_killed_trace_are_listed_with_the_command_to_remove_them(words):
    if not words:
        return
    assert find_leftovers() == []
    tracer = start(*words, "-d", 60)
    assert find_leftovers() == []  # it lives
    tracer.kill()
    tracer.communicate()
    for leftover in find_leftovers():
        result = subprocess.run(leftover.command, shell=True, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{leftover.command}: {result.stderr}"
    assert find_leftovers() == []


@EACH_KIND
def test_a_failed_attach_is_reported_and_leaves_nothing(words):
    """Descriptors run out at the last descriptor that a complete run opens, or at an earlier one."""
    if not words:
        return
    tracer = start(*words, "-d", 60)
    highest = max(int(file.name) for file in Path(f"/proc/{tracer.pid}/fd").iterdir())
    tracer.terminate()
    finish(tracer)
    refusals = 0
    for limit in range(highest, 0, -1):
        refused = run(*words, "-d", 0.1, preexec_fn=partial(setrlimit, RLIMIT_NOFILE, (limit, limit)))
        if refused.status == 0:  # it opens more once it is attached
            continue
        errors = [line for line in refused.err.splitlines() if line.startswith("pytracer: error: ")]
        assert (refused.status, len(errors)) == (1, 1), refused
        assert "Traceback" not in refused.err
        assert trace_events() == []
        assert packets.attached() == ""
        refusals += 1
        if refusals == TRIES:
            return
    pytest.fail(f"{refusals} refusals, down to no descriptors at all")
