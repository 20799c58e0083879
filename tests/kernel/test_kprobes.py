"""Test every alternative for system calls by kprobes: support, counts, and what stays attached."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys

import pytest

from pytracer.spec.common import SYSCALL
from support.cli import finish, run, start
from support.trace_events import trace_events
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

ALTERNATIVES = [alternative.name for alternative in SYSCALL.alternatives if alternative.is_called("kprobe")]
# What Debian's kernels grant. Of others it is only asked that they do it right or say why not.
GRANTED = {
    "5.10": {"kprobe-events"},
    "6.1": {"kprobe-dispatch", "kprobe-events"},
    "6.12": {"kprobe-dispatch", "kprobe-multi", "kprobe-return", "kprobe-events"},
    "7.2": {"kprobe-return"},
}
DEBIANS = GRANTED.get(".".join(platform.release().split(".")[:2])) if "cloud" in platform.release() else None
SLEEPERS, NAPS = 40, 3


def is_granted(alternative: str) -> bool:
    """Return True if this kernel has the alternative; a refusal must be declared in support/needs.py."""
    planned = run("syscalls", "--dry-run", "--hook", f"syscall={alternative}")
    assert planned.status in ((0, 4) if DEBIANS is not None else (0, 4, 5)), planned.err
    if DEBIANS is not None:
        assert (planned.status == 0) is (alternative in DEBIANS), planned.out + planned.err
    if planned.status:
        assert re.search(rf"{alternative}: .+", planned.err)
    return planned.status == 0


@pytest.fixture(autouse=True)
def _no_event_is_left():
    yield
    assert trace_events() == []


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_counts_are_exact(alternative):
    if not is_granted(alternative):
        return
    workloads = "getppid 23", "fail 7", "compat 23", "signal 23", "unknown 5"
    script = "".join(f"{workload('calls')} {arguments}\n" for arguments in workloads)
    script += f"for i in $(seq {SLEEPERS}); do {workload('calls')} sleep {NAPS} & done; wait"
    result = run(
        "syscalls",
        "-f",
        "json",
        "--by",
        "comm,syscall",
        "--hook",
        f"syscall={alternative}",
        "--",
        "sh",
        "-c",
        script,
    )
    assert result.status == 0, result.err
    assert not result.of("loss")
    calls = {record["syscall"]: record for record in result.of("summary") if record["comm"] == "calls"}
    # A number beyond the table reaches no function but ni_syscall, which may be hidden.
    unknown = calls.pop("syscall_999", None)
    assert unknown is None or (unknown["calls"], unknown["errors"]) == (5, 5)
    if DEBIANS is not None:
        assert (unknown is not None) is platform.release().startswith("7.")
    assert {name: (record["calls"], record["errors"]) for name, record in calls.items()} == {
        "execve": (len(workloads) + SLEEPERS, 0),
        "getppid": (23, 0),
        "close": (7, 7),
        "i386:getppid": (23, 0),
        "rt_sigaction": (1, 0),
        "kill": (23, 0),
        "rt_sigreturn": (23, 0),
        "getpid": (1, 0),
        "nanosleep": (SLEEPERS * NAPS, 0),
    }
    assert calls["nanosleep"]["total_ns"] >= SLEEPERS * NAPS * 2_000_000  # a nap of 2 ms is never shorter


@pytest.mark.alone  # the next run of another test would take away what tracefs keeps
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_calls_in_flight_are_not_counted_and_a_killed_tracer_is_cleaned_up_after(alternative):
    if not is_granted(alternative):
        return
    code = "import os, sys\nprint(flush=True)\nsys.stdin.readline()\n"
    code += "for _ in range(23): os.getppid()\nprint(flush=True)\nsys.stdin.readline()\n"
    words = ["-f", "json", "--hook", f"syscall={alternative}", "-e", "getppid,read"]
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # now it sits in read, or is about to
        killed = start("syscalls", *words, "-p", process.pid, 60)
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
        assert bool(trace_events()) is (alternative == "kprobe-events")
        tracer = start("syscalls", *words, "-p", process.pid, 60)
        process.communicate("\n")  # the read returns, 23 calls, and the next read finds the end
        result = finish(tracer)
    assert result.status == 0, result.err
    assert not result.of("loss")
    calls = {record["syscall"]: record["calls"] for record in result.of("summary")}
    assert calls["getppid"] == 23
    assert calls["read"] == 1


def test_the_best_kprobe_alternative_is_taken_by_the_familys_name():
    planned = run("syscalls", "--dry-run", "--hook", "syscall=kprobe")
    if DEBIANS is None and planned.status:
        # Those that one reason goes for stand before it together.
        assert all(re.search(rf"\b{alternative}[,:] ", planned.err) for alternative in ALTERNATIVES)
        return
    best = re.search(r"hook +syscall: ([\w-]+)", planned.out)
    assert best is not None, planned.err
    assert best[1] == next(alternative for alternative in ALTERNATIVES if is_granted(alternative))


def test_a_failed_probe_detaches_the_others():
    if not is_granted("kprobe-events"):
        return
    code = """
from pytracer.record import replace
from pytracer.bpf.attach import kprobe_events
from pytracer.bpf.trial import EMPTY, load
from pytracer.bpf.sys import ProgType
from pytracer.errors import AttachError, UnsupportedError
from pytracer.kernel import functions, policy
policy.raise_memlock()
found = functions.matching(("__x64_sys_get*", "__x64_sys_set*"))
assert len(found.names) > 20, found
symbols = open("/proc/kallsyms").read().splitlines()
[forbidden] = [int(line.split()[0], 16) for line in symbols if line.endswith(" do_syscall_64")]
found = replace(found, names=found.names | {forbidden: ""})
try:
    kprobe_events.attach(found, load(ProgType.KPROBE, EMPTY), "x")
except (AttachError, UnsupportedError) as problem:
    print(problem)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "kprobe event" in result.stdout
