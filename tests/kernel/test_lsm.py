"""Test LSM hooks: counted exactly if BPF is an active security module, refused if it is not."""

from __future__ import annotations

import sys
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
OPENS = (workload("opens"), "openat", "0", "23", "/dev/null")


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
    request = Request(tracer("file_open"), command=OPENS)
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


def run_or_refuse(*words):
    """Return the result of a run; None if the kernel runs no programs as a security module, and the message
    has the reason."""
    result = run(*words)
    modules = read_lsms()
    needs("BTF", Path("/sys/kernel/btf/vmlinux").exists())
    assert modules is not None
    if "bpf" not in modules:
        assert result.status == UnsupportedError.exit_code
        assert "bpf is not among the security modules" in result.err
        assert "lsm=...,bpf" in result.err
        return None
    if RunningKernel().probe(Lsm("", function="file_open")).is_forbidden:
        assert result.status == PolicyError.exit_code
        assert "refused by a policy" in result.err
        return None
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result


@pytest.mark.smoke
def test_hooks_are_counted():
    if result := run_or_refuse("funccount", "lsm:file_open", "-f", "json", "--", *OPENS):
        assert [(row["target"], row["count"]) for row in result.of("summary")] == [("lsm:file_open", 23)]


def test_events_have_the_arguments_of_the_hook_with_their_types():
    spec = 'lsm:file_open "%s %d", file->f_path.dentry->d_name.name, file->f_inode->i_rdev'
    if result := run_or_refuse("trace", spec, "-f", "json", "--", *OPENS):
        device = Path("/dev/null").stat().st_rdev
        number = device >> 8 << 20 | device & 0xFF  # the kernel's dev_t
        assert [event["text"] for event in result.of("event")] == [f"null {number}"] * 23


def test_values_and_stacks_of_a_hook():
    spec = "lsm:file_open()::file->f_inode->i_rdev"
    if result := run_or_refuse("argdist", "-C", spec, "-f", "json", "--", *OPENS):
        assert [row["count"] for row in result.of("summary")] == [23]
    if result := run_or_refuse("stackcount", "lsm:file_open", "-f", "json", "--", *OPENS):
        rows = result.of("summary")
        assert sum(row["hits"] for row in rows) == 23
        assert all(
            any("do_dentry_open" in frame or "vfs_open" in frame for frame in row["kernel"]) for row in rows
        )


PRCTL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for number in range(23):
    assert libc.prctl(15, b"named", 0, 0, 0) == 0            # PR_SET_NAME
    assert libc.prctl(9999, 0, 0, 0, 0) == -1
    assert ctypes.get_errno() == 22
assert open("/proc/self/comm").read() == "named\\n"
"""


def test_a_traced_hook_decides_as_without_the_program():
    """The hook of prctl returns -ENOSYS by default; with 0 the kernel would take the call for done."""
    command = [sys.executable, "-c", PRCTL]
    if result := run_or_refuse("funccount", "lsm:task_prctl", "-f", "json", "--", *command):
        assert [row["count"] for row in result.of("summary")] == [46]


def test_hooks_are_listed():
    result = run("list-probes", "lsm:file_op*", "-f", "json")
    assert result.status == 0, result.err
    assert "lsm:file_open" in [line["name"] for line in result.lines]


def test_a_misspelt_hook_and_a_return_are_refused():
    result = run("funccount", "lsm:fil_open")
    assert "no hook of security modules 'fil_open'" in result.err
    assert "file_open" in result.err
    assert "needs what begins and returns" in run("funclatency", "lsm:file_open").err


@pytest.mark.parametrize(("kind", "alternative"), [("f", "fentry"), ("k", "kprobe")])
def test_an_lsm_hook_is_counted_or_refused(kind, alternative):
    function = f"{kind}:bpf_lsm_file_open"
    result = run("funccount", "-f", "json", "--hook", f"{kind}={alternative}", function, "--", *OPENS)
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
