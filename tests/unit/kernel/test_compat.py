"""Test warnings about 32-bit programs, which raise no events of system calls."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pytracer.kernel import compat
from support.workloads import workload

SYSCALL = ("t:syscalls:sys_enter_read",)


def task_filters(pids, command):
    return SimpleNamespace(processes=tuple(pids), command=command)


def test_thirty_two_bit_programs_are_recognized():
    assert compat.is_32_bit(workload("spin32"))
    assert not compat.is_32_bit(sys.executable)
    assert not compat.is_32_bit("/nowhere")


@pytest.mark.parametrize(
    ("targets", "warned"), [(SYSCALL, True), (("t:raw_syscalls:sys_enter", "k:vfs_read"), False), ((), False)]
)
def test_commands_and_processes_that_are_warned_of(targets, warned):
    own_pid = os.getpid()
    assert list(compat.warnings(targets, task_filters([own_pid], ["true"]))) == []
    command = list(compat.warnings(targets, task_filters([], [workload("spin32")])))
    with subprocess.Popen([workload("spin32")]) as running:
        process = list(compat.warnings(targets, task_filters([own_pid, running.pid], [])))
        running.kill()
    for actual, subject in ((command, workload("spin32")), (process, f"process {running.pid}")):
        assert bool(actual) is warned
        assert all(line.startswith(f"{subject} is a 32-bit program: ") for line in actual)


def test_a_32_bit_program_that_runs_is_found(tmp_path):
    for pid, program in (("1", sys.executable), ("7", workload("spin32")), ("self", workload("spin32"))):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "exe").symlink_to(program)
        (tmp_path / pid / "stat").write_text(f"{pid} (a) S 0")
    (tmp_path / "9").mkdir()  # a kernel thread
    assert compat.running_32_bit(tmp_path) == "process 7"
    (tmp_path / "7" / "exe").unlink()
    assert compat.running_32_bit(tmp_path) == ""
