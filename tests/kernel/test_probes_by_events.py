"""Test probes by trace events of their own, one for each place, as kernels without the PMUs take them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytracer.bpf.attach import kprobe, probe_events, uprobe
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.features.kernel_facts import RunningKernel
from pytracer.kernel import kconfig, tracefs
from pytracer.spec import Kprobe, Kretprobe, Uprobe, Uretprobe
from support.needs import needs
from support.uprobes import Counter, working_program
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

TIMES = 23
FUNCTIONS = ("__x64_sys_getppid", "__arm64_sys_getppid", "sys_getppid")


@pytest.fixture(autouse=True)
def no_pmus(monkeypatch, tmp_path):
    for module in (kprobe, uprobe):
        monkeypatch.setattr(module, "PMU", tmp_path / "none")
    monkeypatch.setattr(kconfig, "is_since", lambda version: False)


def own_events(listing: str) -> str:
    lines = (tracefs.root() / listing).read_text().splitlines()
    return "\n".join(line for line in lines if f"_{os.getpid()}_" in line)


@pytest.mark.parametrize("kind", [Uprobe, Uretprobe])
def test_functions_of_a_process_are_counted_to_the_last_call(kind):
    with working_program(TIMES) as program, working_program(TIMES) as other, Counter() as counter:
        probe = kind("", file=workload("marks"), symbol="work*", process=program.pid)
        assert kind is Uretprobe or RunningKernel().probe(probe).is_supported
        counter.put(probe)
        assert own_events(probe_events.UPROBES).count("\n") == 1  # two places
        program.go()
        other.go()
        assert counter[0] == 2 * TIMES + TIMES + 1
    assert not own_events(probe_events.UPROBES)


@pytest.mark.parametrize("kind", [Kprobe, Kretprobe])
def test_functions_of_the_kernel_are_counted(kind):
    needs("kprobe", Path("/sys/bus/event_source/devices/kprobe").is_dir())
    probe = kind("", symbols=FUNCTIONS)
    support = RunningKernel().probe(probe)
    assert support.is_supported, support.reason
    with Counter() as counter:
        counter.links += kprobe.attach(probe, AttachTarget(support.name), counter.program)
        for _ in range(TIMES):
            os.getppid()
        assert counter[0] >= TIMES  # others may call it, too
    assert not own_events(probe_events.KPROBES)


def test_a_function_that_is_not_there():
    needs("kprobe", Path("/sys/bus/event_source/devices/kprobe").is_dir())
    support = RunningKernel().probe(Kprobe("", symbols=("pytracer_has_no_such",)))
    assert (support.is_supported, support.reason) == (False, "no function pytracer_has_no_such")
