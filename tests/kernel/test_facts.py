"""Test feature probes of this kernel against other sources of the same facts."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytracer.bpf.attach import kprobe
from pytracer.bpf.sys import ProgType, raw_tracepoint_open
from pytracer.bpf.trial import READS_BEYOND, helper_refusal, load, return_code
from pytracer.features import kernel_facts
from pytracer.features.kernel_facts import RunningKernel
from pytracer.kernel.btf import Btf, BtfKind
from pytracer.kernel.kconfig import option as kernel_config
from pytracer.spec import Kprobe, RawTracepoint, SocketFilter

pytestmark = pytest.mark.kernel


@pytest.fixture
def running_kernel() -> Iterator[RunningKernel]:
    requests = RunningKernel()
    yield requests
    requests.close()


def test_facts_that_the_syscalls_tracer_uses(running_kernel: RunningKernel) -> None:
    for event in ("sys_enter", "sys_exit", "sched_process_exit"):
        answer = running_kernel.probe(RawTracepoint("", event=event))
        assert (answer.is_supported, answer.name, answer.was_tried) == (True, event, True), answer
    assert running_kernel.has_helper(113)


def test_exactly_the_raw_tracepoints_in_btf_exist(running_kernel: RunningKernel) -> None:
    """Compare the probe that needs no attachment with all events of this kernel."""
    btf = Btf.load()
    names = {
        name.removeprefix("btf_trace_")
        for name in btf.names(BtfKind.TYPEDEF)
        if name.startswith("btf_trace_")
    }
    assert len(names) > 100
    absent = {name for name in names if not running_kernel.probe(RawTracepoint("", event=name)).is_supported}
    # BTF names events of modules, and of parts that were dropped at the end of boot, too.
    assert len(absent) < len(names) / 20, absent
    for name in ("", "nonsense", "sys_ente", "sys_enterr", "sched:sched_switch"):
        assert not running_kernel.probe(RawTracepoint("", event=name)).is_supported


def test_a_program_that_reads_too_far_is_never_attached() -> None:
    program = load(ProgType.RAW_TRACEPOINT, READS_BEYOND)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            raw_tracepoint_open("sys_enter", program)
    finally:
        ctypes.CDLL(None).close(program)


def test_a_program_attaches_to_a_trace_event() -> None:
    # In a process of its own: to see tracefs it may take a mount namespace.
    code = """
from pytracer.features.kernel_facts import RunningKernel
from pytracer.spec import Tracepoint
known = RunningKernel()
answer = known.probe(Tracepoint('', category='sched', event='sched_process_exit'))
assert (answer.is_supported, answer.was_tried) == (True, True), answer
assert answer.name == 'sched:sched_process_exit'
assert not known.probe(Tracepoint('', category='sched', event='nonsense')).is_supported
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_function_can_be_probed_where_there_are_kprobes(running_kernel: RunningKernel) -> None:
    answer = running_kernel.probe(Kprobe("", symbols=("no_such_function_ever", "vfs_statfs")))
    if not kprobe.PMU.is_dir():
        assert not answer.is_supported
        assert "no kprobes" in answer.reason
        return
    assert answer.is_supported, answer
    assert answer.name == "vfs_statfs"
    assert (
        running_kernel.probe(Kprobe("", symbols=("no_such_function_ever",))).reason
        == "no function no_such_function_ever"
    )


def test_functions_are_found_by_their_whole_name(running_kernel: RunningKernel) -> None:
    assert running_kernel.has_symbol("vfs_read")
    assert not running_kernel.has_symbol("vfs_rea")
    assert not running_kernel.has_symbol("no_such_function_ever")


def test_a_filter_attaches_to_a_packet_socket(running_kernel: RunningKernel) -> None:
    assert running_kernel.probe(SocketFilter("")).is_supported is Path("/proc/net/packet").exists()


def test_helpers_that_are_there_and_not_there(running_kernel: RunningKernel) -> None:
    assert running_kernel.has_helper(5)  # ktime_get_ns
    assert not running_kernel.has_helper(9999)
    assert not running_kernel.has_helper(26)  # skb_load_bytes: there, but not for tracing
    assert helper_refusal(ProgType.SOCKET_FILTER, 26) == ""


def test_kprobe_programs_load_on_every_kernel() -> None:
    """A kernel before 5.0 requires its version in the program; a later one ignores it."""
    ctypes.CDLL(None).close(load(ProgType.KPROBE, return_code(1)))


def test_compat_equals_the_kernels_configuration(running_kernel: RunningKernel) -> None:
    option = {"x86_64": "IA32_EMULATION", "aarch64": "COMPAT"}.get(running_kernel.architecture, "")
    built = kernel_config(option)
    if built == "y" or not option:
        assert running_kernel.runs_compat
    elif (
        built is not None and running_kernel.architecture == "x86_64"
    ):  # arm64 may say yes without CONFIG_COMPAT
        assert not running_kernel.runs_compat


def test_asking_for_linux32_leaves_the_personality_alone() -> None:
    personality = ctypes.CDLL(None).personality
    before = personality(ctypes.c_ulong(0xFFFFFFFF))
    kernel_facts._accepts_linux32()
    assert personality(ctypes.c_ulong(0xFFFFFFFF)) == before
