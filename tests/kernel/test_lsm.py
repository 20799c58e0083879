"""Test LSM hooks: counted exactly if BPF is an active security module, refused if it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytracer.errors import PolicyError, UnsupportedError
from pytracer.features.kernel_facts import RunningKernel
from pytracer.kernel.policy import read_lsms
from pytracer.model import Loss, Snapshot
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.spec import Alternative, Column, Hook, Key, Lsm, Table, Tracer, Unit
from pytracer.trace.loop import TraceLoop
from support.cli import run
from support.needs import needs, was_refused
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]


def tracer(hook: str) -> Tracer:
    """Count by process how often a hook is called."""
    return Tracer(
        name="asked",
        group="tests",
        summary="what security modules are asked",
        description="What security modules are asked.",
        hooks=(Hook("asked", f"{hook} is asked for", (Alternative("lsm", (Lsm("asked", function=hook),)),)),),
        follow=True,
        keys=(Key("pid", (Column("pid", "process id"),)),),
        outputs=(Table("rows", (Column("asked", "how often", unit=Unit.COUNT),), sort="asked"),),
        source=str(Path(__file__).parents[1] / "support/probes/lsm.c"),
    )


def test_files_as_they_are_opened_or_why_not():
    command = (workload("opens"), "openat", "0", "23", "/dev/null")
    request = Request(tracer("file_open"), command=command)
    modules = read_lsms()
    needs("BTF", Path("/sys/kernel/btf/vmlinux").exists())
    assert modules is not None
    if "bpf" not in modules:
        with pytest.raises(UnsupportedError, match="bpf is not among the security modules") as excinfo:
            TraceLoop(request, RunningKernel)
        assert "lsm=...,bpf" in excinfo.value.message
        return
    if (
        RunningKernel().probe(Lsm("", function="file_open")).is_forbidden
    ):  # a kernel's policy, told as what it is
        with pytest.raises(PolicyError, match="refused"):
            TraceLoop(request, RunningKernel)
        return
    with TraceLoop(request, RunningKernel) as trace:
        items = list(trace)
    assert not [item for item in items if isinstance(item, Loss)]
    [snapshot] = [item for item in items if isinstance(item, Snapshot)]
    assert [row["asked"] for row in snapshot.rows()] == [23]


@pytest.mark.parametrize(("kind", "alternative"), [("f", "fentry"), ("k", "kprobe")])
def test_an_lsm_hook_is_counted_or_refused(kind, alternative):
    command = (workload("opens"), "openat", "0", "23", "/dev/null")
    function = f"{kind}:bpf_lsm_file_open"
    result = run("funccount", "-f", "json", "--hook", f"{kind}={alternative}", function, "--", *command)
    modules = read_lsms()
    assert modules is not None
    if "bpf" not in modules and "bpf_lsm_file_open" in Path("/proc/kallsyms").read_text():
        assert result.status == 4
        assert "bpf is not among the security modules" in result.err
        assert "lsm=...,bpf" in result.err
        return
    if was_refused(result, {kind: alternative}):
        return
    assert result.status == 0, result.err
    assert [record["count"] for record in result.of("summary")] == [23]


def test_an_unknown_hook_is_refused():
    with pytest.raises((UnsupportedError, PolicyError), match="no hook nonsense here"):
        make_plan(Request(tracer("nonsense")), RunningKernel())
