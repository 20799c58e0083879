"""Test kernels with a hook but without a helper: another alternative, or a reason, before the compiler
runs."""

from __future__ import annotations

import contextlib

import pytest

from pytracer.bpf.attach.kind import LoadAttributes
from pytracer.bpf.sys import ProgType
from pytracer.cli import tracer_parser
from pytracer.errors import PolicyError, UnsupportedError
from pytracer.features.kernel_facts import RunningKernel
from pytracer.features.table.uses import ProgramUses
from pytracer.model import Snapshot
from pytracer.plan import make_plan
from pytracer.spec import RawTracepoint, SocketFilter, Xdp, registry
from pytracer.trace import program_loading
from pytracer.trace.loop import TraceLoop
from support.compiled_uses import make_request
from support.needs import needs
from support.workloads import workload

pytestmark = pytest.mark.kernel
GET_CURRENT_PID_TGID, SKB_LOAD_BYTES, OVERRIDE_RETURN, GET_TASK_STACK = 14, 26, 58, 141


@pytest.fixture
def running_kernel():
    kernel = RunningKernel()
    yield kernel
    kernel.close()


class Without(RunningKernel):
    """This kernel without one helper for programs of one type."""

    type, helper = ProgType.RAW_TRACEPOINT, GET_CURRENT_PID_TGID

    def may_call(self, attributes: LoadAttributes, number: int) -> bool:
        """See RunningKernel."""
        return (attributes.type, number) != (self.type, self.helper) and super().may_call(attributes, number)


class WithoutTaskStacks(Without):
    """This kernel with the features of Linux 5.8."""

    type, helper = ProgType.TRACING, GET_TASK_STACK


def test_helpers_are_those_of_the_type(running_kernel):
    raw, packet = RawTracepoint("", event="sys_enter"), SocketFilter("")
    assert running_kernel.describe_lack(raw, ProgramUses((GET_CURRENT_PID_TGID,))) == ""
    assert running_kernel.describe_lack(packet, ProgramUses((SKB_LOAD_BYTES,))) == ""
    assert "no bpf_skb_load_bytes for its program" in running_kernel.describe_lack(
        raw, ProgramUses((SKB_LOAD_BYTES,))
    )
    assert "no bpf_override_return" in running_kernel.describe_lack(packet, ProgramUses((OVERRIDE_RETURN,)))
    assert (
        running_kernel.describe_lack(raw, ProgramUses((9999,)))
        == "this kernel has no helper 9999 for its program"
    )


def test_fields_are_those_of_the_context(running_kernel):
    length, mark, invalid = (0, 4), (8, 4), (4000, 4)
    assert running_kernel.describe_lack(SocketFilter(""), ProgramUses(context=(length, mark))) == ""
    assert running_kernel.describe_lack(Xdp(""), ProgramUses(context=(length,))) == ""
    actual = running_kernel.describe_lack(SocketFilter(""), ProgramUses(context=(length, invalid)))
    assert actual == "this kernel's context has no field at offset 4000"


def test_tracers_that_run_here_are_not_refused(running_kernel):
    """Every tracer of this package compiles and loads here, so no trial may fail."""
    for tracer in registry.all_tracers():
        messages = list[str]()
        with contextlib.suppress(UnsupportedError, PolicyError):
            messages += make_plan(make_request(tracer), running_kernel).hooks.notes
        assert not [line for line in messages if "for its program" in line or "context" in line], tracer.name


def test_another_alternative_is_used_and_counts_as_exactly():
    words = ["--", workload("calls"), "getppid", "23"]
    request, _ = tracer_parser.parse(registry.get("syscalls"), words)
    with TraceLoop(request, Without) as trace:
        [note] = [note for note in trace.plan.hooks.notes if note.startswith("syscall:")]
        assert note.startswith("syscall: tracepoint; not raw-tracepoint: this kernel has no bpf_get_current")
        rows = [row for item in trace if isinstance(item, Snapshot) for row in item.rows()]
    assert [row["calls"] for row in rows if row["syscall"] == "getppid"] == [23]


def test_without_another_alternative_the_reason_names_the_helper(running_kernel, monkeypatch):
    probe = registry.get("tasks").hooks[0].alternatives[0].probes[0]
    needs("tasks=iterator", running_kernel.probe(probe).is_supported)
    monkeypatch.setattr(program_loading, "open_programs", lambda *_, **__: pytest.fail("compiled"))
    request, _ = tracer_parser.parse(registry.get("tasks"), [])
    with pytest.raises(UnsupportedError) as excinfo:
        TraceLoop(request, WithoutTaskStacks)
    assert "this kernel has no bpf_get_task_stack for its program (Linux 5.9)" in excinfo.value.message
