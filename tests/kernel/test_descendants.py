"""Test descendants that outlive a command: reported, or followed until they exit."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import pytracer
from pytracer.plan import alternatives
from support.cli import finish, run, start
from support.needs import needs
from support.workloads import workload

pytestmark = pytest.mark.kernel
RUN = {1: "1 of its descendants still runs", 3: "3 of its descendants still run"}


def left_running_message(count: int) -> str:
    return f"{workload('outlived')} has ended, {RUN[count]}: --wait-all follows them to their end"


def outlived(read_fd: int, count: int) -> list[str]:
    """Return a command that leaves ``count`` processes behind, which execute ``true`` at the end of a
    pipe."""
    return [workload("outlived"), str(count), str(read_fd)]


@pytest.fixture
def gate():
    read_fd, write_fd = os.pipe()
    yield read_fd, write_fd
    os.close(read_fd)


def executed(result) -> list[str]:
    return [event["comm"] for event in result.of("event")]


@pytest.mark.parametrize("count", RUN)
def test_the_commands_exit_ends_the_trace_and_reports_running_descendants(gate, count):
    read_fd, write_fd = gate
    result = run("execsnoop", "-f", "json", "--", *outlived(read_fd, count), pass_fds=[read_fd])
    os.close(write_fd)
    assert result.status == 7
    assert result.err == f"pytracer: warning: {left_running_message(count)}\n"
    assert "true" not in executed(result)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("alternative", ["raw-tracepoint", "tracepoint"])
def test_wait_all_follows_them_to_their_end(gate, count, alternative):
    read_fd, write_fd = gate
    words = ["-f", "json", "--wait-all", "--hook", f"follow={alternative}", "--", *outlived(read_fd, count)]
    tracer = start("execsnoop", *words, pass_fds=[read_fd])
    os.close(write_fd)
    result = finish(tracer)
    assert result.status == 7
    assert "descendants" not in result.err
    assert executed(result).count("true") == count


def test_wait_all_can_be_ended(gate):
    read_fd, write_fd = gate
    tracer = start("exitsnoop", "-f", "json", "--wait-all", "--", *outlived(read_fd, 3), pass_fds=[read_fd])
    assert '"comm": "outlived"' in next(tracer.stdout)
    os.kill(tracer.pid, signal.SIGTERM)
    result = finish(tracer)
    os.close(write_fd)
    assert result.status == 7
    assert result.err.splitlines()[0] == f"pytracer: warning: {workload('outlived')} has ended, {RUN[3]}"


def test_no_message_if_no_descendant_is_left():
    result = run("execsnoop", "-f", "json", "--", "sh", "-c", "true & true | true; wait; exit 3")
    assert (result.status, result.err) == (3, "")


def test_a_profile_has_the_calls_of_descendants(tmp_path):
    marker_file = tmp_path / "made"
    script = f"(sleep 0.8; mkdir {marker_file}) & sleep 0.2; exit 0"
    result = run("syscalls", "--profile", "-o", tmp_path / "profile", "--", "sh", "-c", script)
    assert (result.status, marker_file.is_dir()) == (0, True)
    assert '"mkdir"' in (tmp_path / "profile").read_text()


@pytest.mark.parametrize("wait_all", [False, True])
def test_the_api_waits_for_them_too(gate, wait_all):
    read_fd, write_fd = gate
    os.set_inheritable(read_fd, True)
    warned = list[str]()
    command = outlived(read_fd, 3)
    with pytracer.open("execsnoop", command=command, wait_all=wait_all, warn=warned.append) as trace:
        if wait_all:
            os.close(write_fd)
        comms = [row["comm"] for item in trace for row in item.rows()]
    if not wait_all:
        os.close(write_fd)
    assert trace.status == 7
    assert comms.count("true") == 3 * wait_all
    assert warned == [left_running_message(3)] * (not wait_all)


@pytest.mark.lab
def test_descendants_are_followed_without_reading_kernel_memory(gate, monkeypatch):
    """As under lockdown=confidentiality, the tracer uses only the arguments that tracepoints have."""
    needs("BTF", Path("/sys/kernel/btf/vmlinux").exists())
    monkeypatch.setattr(alternatives, "_PROBE_READ", ())
    read_fd, write_fd = gate
    os.set_inheritable(read_fd, True)
    hooks = {"follow": "raw-tracepoint", "executed": "raw-tracepoint"}
    with pytracer.open("execsnoop", command=outlived(read_fd, 3), wait_all=True, hook=hooks) as trace:
        plan = trace.plan
        os.close(write_fd)
        comms = [row["comm"] for item in trace for row in item.rows()]
    assert {chosen.probe.kind for chosen in plan.probes} == {"typed_tracepoint"}
    assert comms.count("true") == 3


def test_wait_all_needs_a_command():
    result = run("execsnoop", "--wait-all")
    assert result.status == 2
    assert result.err == "pytracer: error: --wait-all is for a command that is started\nhint: -- COMMAND\n"
